/** Measures calls to Python, answers those of Python, and shows how long both took. */
(channel) => {
  const format = (value) => Math.round(value).toLocaleString('en');

  /** A step for each call; what is slower than nearly all is cut off, so that the others can be told apart. */
  const tracePath = (times, p95) => {
    const steps = [...times].map((time, index) => `${index} ${30 - 29 * Math.min(1, time / p95 / 1.25)}H${index + 1}`);
    return `M${steps.join('L')}`;
  };

  const ping = async (number) => {
    const answer = await channel.call('ping', number);
    if (answer !== number) {
      throw new Error(`ping(${number}) returned ${answer}`);
    }
  };

  channel.handler = {
    /** Returns the number. */
    ping: (number) => number,

    /** Calls Python so many times, one after the other, and returns the milliseconds that each call took. */
    async measure(count) {
      const times = new Float64Array(count);
      for (let index = 0; index < count; index += 1) {
        const start = performance.now();
        await ping(index);
        times[index] = performance.now() - start;
      }
      return times;
    },

    /** Calls Python so many times at once, and returns the seconds that all took. */
    async burst(count) {
      const start = performance.now();
      await Promise.all(Array.from({ length: count }, (_, index) => ping(index)));
      return (performance.now() - start) / 1000;
    },

    /** Shows the figures of one round, of which each is a direction's. */
    show(figures, atOnce) {
      const times = figures.map(({ name, times, median, p95 }) => `
        <h3>${name} <span>${times.length} in turn</span></h3>
        <p><strong>${median.toFixed(2)}</strong> ms median, ${p95.toFixed(2)} ms p95</p>
        <svg viewBox="0 0 ${times.length} 30" preserveAspectRatio="none"><path d="${tracePath(times, p95)}"/></svg>`);
      const rates = figures.map(({ name, rate }) => `<p><strong>${format(rate)}</strong> calls/s, ${name}</p>`);
      document.querySelector('#figures').innerHTML = `${times.join('')}<h3>${format(atOnce)} calls at once</h3>${rates.join('')}`;
      document.querySelector('#pending').contentDocument.close();
    },
  };
}
