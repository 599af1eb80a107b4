/**
 * Draws the table that Python has read, one panel for each column, and asks Python for all that it needs: the values in
 * chunks, their rolling means, and the marks of the axes for the room there is. Returns the picture as a PNG.
 */
(channel) => {
  const CHUNKS = 3; // In how many calls a column is fetched, at least.
  const LARGEST_CHUNK = 50_000;
  const FEW = 40;
  const FONT = getComputedStyle(document.body).fontFamily;
  const COLORS = {
    light: { text: '#1d2026', muted: '#686e79', line: '#e6e7ea', surface: '#ffffff', curves: ['#c8452f', '#2a6fb0', '#1f8a70', '#8453b5'] },
    dark: { text: '#e8eaee', muted: '#989eaa', line: '#2d313a', surface: '#1b1e24', curves: ['#ff8a73', '#74b3f0', '#5fcbaa', '#c39bf0'] },
  };
  const HEAD = 60; // Above the panels, without the lines of the subtitle.
  const LINE = 18;
  const FOOT = 44;
  const MARGIN = { left: 20, right: 24 };
  const PANEL_TITLE = 24;
  const PANEL_GAP = 14;

  const style = document.createElement('style');
  style.textContent = `
    #root { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr); max-width: 90rem; margin: 0 auto; }
    #root > * { border: 1px solid var(--line); border-radius: 0.75rem; background: var(--surface); }
    #root > .chart { overflow: hidden; }
    .chart canvas { display: block; width: 100%; }
    .chart p { padding: 0 1.25rem; }
    @media (min-width: 60rem) { #root { grid-template-columns: minmax(0, 1fr) 18.5rem; align-items: start; } }
  `;
  const section = document.createElement('section');
  section.className = 'chart';
  const canvas = document.createElement('canvas');
  canvas.setAttribute('role', 'img');
  section.append(canvas);
  document.head.append(style);
  document.querySelector('#root').replaceChildren(section);

  const fetchInChunks = async (rows, fetch) => {
    const size = Math.max(1, Math.min(LARGEST_CHUNK, Math.ceil(rows / CHUNKS)));
    const starts = Array.from({ length: Math.ceil(rows / size) }, (_, index) => index * size);
    const values = new Float64Array(rows);
    await Promise.all(starts.map(async (start) => values.set(await fetch(start, size), start)));
    return values;
  };

  const load = async () => {
    const table = await channel.call('describe');
    // About fifty windows make a curve that shows the seasons and hides the days.
    const window = table.rows <= FEW ? 1 : 2 * Math.ceil(table.rows / 96) + 1;
    const loadColumn = async (column, index) => {
      const [values, means] = await Promise.all([
        fetchInChunks(table.rows, (start, count) => channel.call('values', index, start, count)),
        channel.call('smooth', index, window),
      ]);
      return { ...column, values, means };
    };
    const [positions, ...columns] = await Promise.all([
      fetchInChunks(table.rows, (start, count) => channel.call('positions', start, count)),
      ...table.columns.map(loadColumn),
    ]);
    return { ...table, window, positions, columns };
  };

  /** The lines of a text that is broken between words where it is wider than its room. */
  const wrap = (text, font, room) => {
    const pen = canvas.getContext('2d');
    pen.font = font;
    const lines = [];
    for (const word of text.split(' ')) {
      const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
      if (lines.length > 0 && pen.measureText(longer).width <= room) {
        lines[lines.length - 1] = longer;
      } else {
        lines.push(word);
      }
    }
    return lines;
  };

  const measureLayout = (table) => {
    const width = section.clientWidth;
    const mean = table.window > 1 ? `; bold: the mean of ${table.window} rows` : '';
    const subtitle = wrap(table.subtitle + mean, `400 13px ${FONT}`, width - MARGIN.left - MARGIN.right);
    const head = HEAD + LINE * subtitle.length;
    const inner = Math.max(window.innerHeight - 90, 480) - head - FOOT;
    const panel = Math.max(110, Math.min(400, inner / table.columns.length));
    return { width, subtitle, head, panel, height: head + FOOT + panel * table.columns.length };
  };

  /** The marks of all axes, for the room that there is. */
  const fetchTicks = async (table, layout) => {
    const across = Math.max(2, Math.floor(layout.width / 76));
    const upwards = Math.max(2, Math.min(6, Math.round((layout.panel - PANEL_TITLE - PANEL_GAP) / 25)));
    const [horizontal, ...vertical] = await Promise.all([
      channel.call('horizontal_ticks', across),
      ...table.columns.map(({ range: [low, high] }) => channel.call('vertical_ticks', low, high, upwards)),
    ]);
    return { horizontal, vertical };
  };

  const paint = (table, layout, ticks) => {
    const ratio = window.devicePixelRatio;
    canvas.width = Math.round(layout.width * ratio);
    canvas.height = Math.round(layout.height * ratio);
    canvas.style.height = `${layout.height}px`;
    const pen = canvas.getContext('2d');
    pen.scale(ratio, ratio);
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    const colors = dark ? COLORS.dark : COLORS.light;
    const write = (text, x, y, { size = 12, weight = 400, color = colors.muted, align = 'left', room } = {}) => {
      pen.font = `${weight} ${size}px ${FONT}`;
      pen.fillStyle = color;
      pen.textAlign = align;
      pen.fillText(room === undefined ? text : shorten(text, room), x, y);
    };
    const shorten = (text, room) => {
      let shown = text;
      while (shown.length > 1 && pen.measureText(shown).width > room) {
        shown = `${shown.slice(0, -2)}…`;
      }
      return shown;
    };

    pen.fillStyle = colors.surface;
    pen.fillRect(0, 0, layout.width, layout.height);
    pen.font = `400 12px ${FONT}`;
    const labels = ticks.vertical.flat().map(([, label]) => pen.measureText(label).width);
    const left = MARGIN.left + Math.ceil(Math.max(0, ...labels)) + 8;
    const right = layout.width - MARGIN.right;
    const [first, last] = table.range;
    const toX = (value) => (last > first ? left + ((value - first) / (last - first)) * (right - left) : (left + right) / 2);

    write(table.title, MARGIN.left, 34, { size: 20, weight: 600, color: colors.text, room: layout.width - 40 });
    layout.subtitle.forEach((line, index) => {
      write(line, MARGIN.left, 55 + index * LINE, { size: 13, room: layout.width - 40 });
    });

    table.columns.forEach((column, index) => {
      const top = layout.head + index * layout.panel;
      const ceiling = top + PANEL_TITLE;
      const floor = top + layout.panel - PANEL_GAP;
      const marks = ticks.vertical[index];
      const low = marks[0][0];
      const high = marks.at(-1)[0];
      const toY = (value) => floor - ((value - low) / (high - low)) * (floor - ceiling);
      const color = colors.curves[index % colors.curves.length];

      pen.lineWidth = 1;
      pen.strokeStyle = colors.line;
      pen.beginPath();
      for (const [value] of ticks.horizontal) {
        const x = Math.round(toX(value)) + 0.5;
        pen.moveTo(x, ceiling);
        pen.lineTo(x, floor);
      }
      for (const [value] of marks) {
        const y = Math.round(toY(value)) + 0.5;
        pen.moveTo(left, y);
        pen.lineTo(right, y);
      }
      pen.stroke();
      for (const [value, label] of marks) {
        write(label, left - 8, toY(value) + 4, { align: 'right' });
      }

      const trace = (values, lineWidth, opacity) => {
        pen.strokeStyle = color;
        pen.fillStyle = color;
        pen.lineWidth = lineWidth;
        pen.globalAlpha = opacity;
        pen.lineJoin = 'round';
        const dots = new Path2D();
        pen.beginPath();
        let drawing = false;
        values.forEach((value, row) => {
          if (Number.isNaN(value)) {
            drawing = false;
            return;
          }
          const x = toX(table.positions[row]);
          const y = toY(value);
          // A line through few values shows where they are, and a value without neighbours makes no line.
          if (values.length <= FEW || (!drawing && !Number.isFinite(values[row + 1]))) {
            dots.moveTo(x, y);
            dots.arc(x, y, lineWidth * 1.4, 0, 2 * Math.PI);
          }
          if (drawing) {
            pen.lineTo(x, y);
          } else {
            pen.moveTo(x, y);
            drawing = true;
          }
        });
        pen.stroke();
        pen.fill(dots);
        pen.globalAlpha = 1;
      };
      if (table.window > 1) {
        trace(column.values, 1, dark ? 0.42 : 0.36);
      }
      trace(column.means, 2.25, 1);

      const heading = { size: 13, weight: 600, color };
      write(column.name, left, top + 13, { ...heading, room: right - left });
      const used = pen.measureText(column.name).width + 16;
      pen.font = `400 12px ${FONT}`;
      if (used + pen.measureText(column.label).width <= right - left) {
        write(column.label, right, top + 13, { align: 'right' });
      }
    });

    const bottom = layout.height - FOOT - PANEL_GAP + 20;
    let free = -Infinity;
    for (const [value, label] of ticks.horizontal) {
      pen.font = `400 12px ${FONT}`;
      const half = pen.measureText(label).width / 2;
      const x = Math.min(Math.max(toX(value), half + 6), layout.width - half - 6);
      if (x - half >= free) {
        write(label, x, bottom, { align: 'center' });
        free = x + half + 10;
      }
    }
    write(table.axis, (left + right) / 2, bottom + 20, { align: 'center', room: right - left });
    canvas.setAttribute('aria-label', `${table.title}: ${table.columns.map(({ name }) => name).join(', ')}`);
  };

  let loading;
  let drawing = Promise.resolve();
  const draw = async () => {
    loading ??= load();
    const table = await loading;
    const layout = measureLayout(table);
    paint(table, layout, await fetchTicks(table, layout));
  };
  // One after the other, so that the last is what is seen.
  const redraw = () => (drawing = drawing.then(draw, draw));
  const redrawQuietly = () => {
    redraw().catch((error) => {
      // A chart that was drawn before stays, such as when Python has gone and the window is made larger.
      if (canvas.ariaLabel === null) {
        const text = document.createElement('p');
        text.textContent = `The chart could not be drawn: ${error.message}`;
        section.replaceChildren(text);
      }
    });
  };

  let width = 0;
  new ResizeObserver(() => {
    if (section.clientWidth !== width) {
      width = section.clientWidth;
      redrawQuietly();
    }
  }).observe(section);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawQuietly);

  channel.handler = {
    /** Draws the chart, unless it is being drawn, and gives the picture. */
    async draw() {
      await redraw();
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
      if (blob === null) {
        throw new RangeError(`a picture of ${canvas.width} × ${canvas.height} pixels could not be made`);
      }
      return { png: new Uint8Array(await blob.arrayBuffer()) };
    },
  };
}
