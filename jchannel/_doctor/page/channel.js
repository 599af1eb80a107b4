/** What Python asks of the doctor's page. */
export default (channel) => {
  channel.handler = {
    async examine(target) {
      const { examineBrowser, examine } = globalThis.jchannelDoctor;
      const found = await examineBrowser();
      if (target !== null) {
        found.push(await examine(target));
      }
      document.querySelector('#found').replaceChildren(
        ...found.map(({ state, cause, text }) => {
          const item = document.createElement('li');
          item.className = state;
          item.textContent = cause === null ? text : `${cause}: ${text}`;
          return item;
        }),
      );
      return found;
    },
  };
};
