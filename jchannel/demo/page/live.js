/** Measures calls to Python, answers those of Python, and shows how long both took. */
(channel) => {
  const style = document.createElement('style');
  style.textContent = `
    .live { padding: 1rem 1.25rem 1.25rem; }
    .live h2 { margin: 0; font-size: 1.0625rem; }
    .live h3 { display: flex; justify-content: space-between; margin: 1.25rem 0 0; font-size: 0.8125rem; font-weight: 600; }
    .live h3 span, .live p { color: var(--muted); font-weight: 400; }
    .live p { margin: 0.125rem 0 0; font-size: 0.8125rem; }
    .live .value { margin: 0.125rem 0 0; color: var(--text); font-size: 1.625rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
    .live .value small { color: var(--muted); font-size: 0.8125rem; }
    .live svg { display: block; width: 100%; height: 3rem; margin-top: 0.375rem; overflow: hidden; }
    .live path { fill: none; stroke: var(--good); stroke-width: 1.25; vector-effect: non-scaling-stroke; }
    .live line { stroke: var(--line); vector-effect: non-scaling-stroke; }
  `;
  const section = document.createElement('section');
  section.className = 'live';
  section.setAttribute('aria-label', 'Live figures');
  section.innerHTML = `
    <h2>Calls, live</h2>
    <p>How long a call and its answer take.</p>
    ${['toPage', 'toPython'].map((name) => `
      <h3>${name === 'toPage' ? 'Python to page' : 'Page to Python'} <span data-name="${name}Count"></span></h3>
      <div class="value"><span data-name="${name}Median">–</span> <small>ms median, <span data-name="${name}P95">–</span> ms p95</small></div>
      <svg viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true"><line x1="0" y1="29.5" x2="100" y2="29.5"/><path data-name="${name}Path"/></svg>
    `).join('')}
    <h3><span data-name="atOnce" style="color: inherit; font-weight: inherit">Calls at once</span></h3>
    <div class="value"><span data-name="rateToPage">–</span> <small>calls/s to the page</small></div>
    <div class="value"><span data-name="rateToPython">–</span> <small>calls/s to Python</small></div>
  `;
  document.head.append(style);
  document.querySelector('#root').append(section);

  const parts = Object.fromEntries([...section.querySelectorAll('[data-name]')].map((part) => [part.dataset.name, part]));
  const formatCount = (value) => Math.round(value).toLocaleString('en');

  /** One step for each call; what is slower than nearly all is cut off, so that the others can be told apart. */
  const tracePath = (times) => {
    const ceiling = 1.25 * [...times].sort((a, b) => a - b)[Math.floor(0.97 * (times.length - 1))];
    const points = [...times].map((time, index) => {
      const y = 29.5 - 29 * Math.min(1, time / ceiling);
      return `${((100 * index) / times.length).toFixed(2)} ${y.toFixed(2)}H${((100 * (index + 1)) / times.length).toFixed(2)}`;
    });
    return `M${points.join('L')}`;
  };

  channel.handler = {
    /** Gives back the number. */
    ping(number) {
      return number;
    },

    /** Calls Python so many times, one after the other, and gives the milliseconds that each call took. */
    async measure(count) {
      const times = new Float64Array(count);
      for (let index = 0; index < count; index += 1) {
        const start = performance.now();
        await this.check(index);
        times[index] = performance.now() - start;
      }
      return times;
    },

    /** Calls Python so many times at once, and gives the seconds that all took. */
    async burst(count) {
      const start = performance.now();
      await Promise.all(Array.from({ length: count }, (_, index) => this.check(index)));
      return (performance.now() - start) / 1000;
    },

    /** Calls Python once, and throws when the answer is another call's. */
    async check(number) {
      const answer = await channel.call('ping', number);
      if (answer !== number) {
        throw new Error(`the call of ping with ${number} was answered with ${answer}`);
      }
    },

    /** Shows the figures of one round. */
    show({ toPage, toPython, atOnce, rateToPage, rateToPython }) {
      for (const [name, { times, median, p95 }] of Object.entries({ toPage, toPython })) {
        parts[`${name}Median`].textContent = median.toFixed(2);
        parts[`${name}P95`].textContent = p95.toFixed(2);
        parts[`${name}Count`].textContent = `${times.length} in turn`;
        parts[`${name}Path`].setAttribute('d', tracePath(times));
      }
      parts.atOnce.textContent = `${formatCount(atOnce)} calls at once`;
      parts.rateToPage.textContent = formatCount(rateToPage);
      parts.rateToPython.textContent = formatCount(rateToPython);
    },
  };
}
