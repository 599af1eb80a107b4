/**
 * Draws the table that Python has read, one panel for each column. It asks Python for all that it needs: the values in
 * chunks, and their rolling means.
 */
async (channel) => {
  if (document.readyState === 'loading') { // The channel may be faster than the page.
    await new Promise((resolve) => document.addEventListener('DOMContentLoaded', resolve));
  }
  const CHUNKS = 3; // In how many calls a column is fetched.
  const [HEAD, FOOT, PANEL_TITLE, PANEL_GAP, MARGIN] = [86, 44, 24, 14, 20];
  const canvas = document.querySelector('canvas');
  const pen = canvas.getContext('2d');

  /** All values of a column or of the positions. Python returns a part of them for each call. */
  const fetchAll = async (rows, ...call) => {
    const size = Math.ceil(rows / CHUNKS);
    const starts = Array.from({ length: CHUNKS }, (_, index) => index * size).filter((start) => start < rows);
    const values = new Float64Array(rows);
    await Promise.all(starts.map(async (start) => values.set(await channel.call(...call, start, size), start)));
    return values;
  };

  const load = async () => {
    const table = await channel.call('describe');
    // About fifty windows make a curve that shows the seasons and hides the days.
    const window = table.rows <= 40 ? 1 : 2 * Math.ceil(table.rows / 96) + 1;
    const loadColumn = async (name, index) => {
      const [values, means] = await Promise.all([
        fetchAll(table.rows, 'values', index),
        channel.call('smooth', index, window),
      ]);
      const sorted = values.filter((value) => !Number.isNaN(value)).sort();
      return { name, values, means, low: sorted[0], high: sorted.at(-1) };
    };
    const [positions, ...columns] = await Promise.all([fetchAll(table.rows, 'positions'), ...table.columns.map(loadColumn)]);
    return { ...table, window, positions, columns };
  };

  const write = (text, x, y, { size = 12, weight = 400, color = '--muted', align = 'left', room } = {}) => {
    pen.font = `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;
    pen.fillStyle = getColor(color);
    pen.textAlign = align;
    pen.fillText(text, x, y, room);
  };
  const getColor = (name) => getComputedStyle(document.body).getPropertyValue(name);

  /** A line for each run of values; NaN values are gaps in it. */
  const trace = (values, toX, toY, lineWidth, opacity) => {
    pen.lineWidth = lineWidth;
    pen.globalAlpha = opacity;
    pen.lineJoin = pen.lineCap = 'round';
    pen.beginPath();
    values.forEach((value, row) => {
      if (!Number.isNaN(value)) {
        const x = toX(row);
        if (row === 0 || Number.isNaN(values[row - 1])) {
          pen.moveTo(x - 0.1, toY(value)); // So that a value without neighbours is a dot.
        }
        pen.lineTo(x, toY(value));
      }
    });
    pen.stroke();
    pen.globalAlpha = 1;
  };

  const drawGrid = (xs, ys, left, right, top, bottom) => {
    pen.lineWidth = 1;
    pen.strokeStyle = getColor('--line');
    pen.beginPath();
    for (const x of xs.map(Math.round)) {
      pen.moveTo(x + 0.5, top);
      pen.lineTo(x + 0.5, bottom);
    }
    for (const y of ys.map(Math.round)) {
      pen.moveTo(left, y + 0.5);
      pen.lineTo(right, y + 0.5);
    }
    pen.stroke();
  };

  const paint = (table) => {
    const width = canvas.clientWidth;
    const panel = Math.max(110, Math.min(400, (Math.max(innerHeight - 60, 740) - HEAD - FOOT) / table.columns.length));
    const height = HEAD + FOOT + panel * table.columns.length;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    canvas.style.height = `${height}px`;
    pen.scale(devicePixelRatio, devicePixelRatio);
    pen.fillStyle = getColor('--surface');
    pen.fillRect(0, 0, width, height);

    const [left, right] = [MARGIN + 44, width - MARGIN];
    const sorted = table.positions.toSorted();
    const [first, last] = [sorted[0], sorted.at(-1)];
    const toX = (value) => left + (last > first ? (value - first) / (last - first) : 0.5) * (right - left);
    const across = Math.max(2, Math.floor(width / 76));
    const least = table.positions.every(Number.isInteger) ? 1 : 0;
    const ticks = table.kind === 'time' ? timeTicks(first, last, across) : numberTicks(first, last, across, least);

    const period = table.kind === 'time' ? [`${formatDay(first)} to ${formatDay(last)}`] : [];
    const legend = table.window > 1 ? [`bold: the mean of ${table.window} rows`] : [];
    const room = width - 2 * MARGIN;
    write(table.title, MARGIN, 34, { size: 20, weight: 600, color: '--text', room });
    write(`${table.rows.toLocaleString('en')} rows of ${table.file}`, MARGIN, 55, { size: 13, room });
    write([...period, ...legend].join('; '), MARGIN, 73, { size: 13, room });

    table.columns.forEach(({ name, values, means, low, high }, index) => {
      const top = HEAD + index * panel;
      const [ceiling, floor] = [top + PANEL_TITLE, top + panel - PANEL_GAP];
      const spread = high > low ? 0 : Math.abs(low) || 1;
      const step = roundStep((high - low + 2 * spread) / Math.max(2, Math.min(6, Math.round((floor - ceiling) / 25))));
      const [bottom, summit] = [Math.floor((low - spread) / step) * step, Math.ceil((high + spread) / step) * step];
      const toY = (value) => floor - ((value - bottom) / (summit - bottom)) * (floor - ceiling);
      const marks = multiples(bottom, summit, step);

      drawGrid(ticks.map(({ value }) => toX(value)), marks.map(toY), left, right, ceiling, floor);
      marks.forEach((value) => write(formatNumber(value), left - 8, toY(value) + 4, { align: 'right', room: 52 }));
      pen.strokeStyle = getColor(`--curve-${index}`);
      const toRowX = (row) => toX(table.positions[row]);
      if (table.window > 1) {
        trace(values, toRowX, toY, 1, 0.4);
      }
      trace(means, toRowX, toY, 2.25, 1);
      write(name, left, top + 13, { size: 13, weight: 600, color: `--curve-${index}`, room: (right - left) * 0.65 });
      const range = `${formatNumber(low)} to ${formatNumber(high)}`;
      write(range, right, top + 13, { align: 'right', room: (right - left) * 0.3 });
    });

    const bottom = height - FOOT - PANEL_GAP + 20;
    ticks.forEach(({ value, label }) => write(label, toX(value), bottom, { align: 'center' }));
    write(table.axis, (left + right) / 2, bottom + 20, { align: 'center', room });
    canvas.ariaLabel = `${table.title}: ${table.columns.map(({ name }) => name).join(', ')}`;
  };

  let loading;
  const draw = async () => {
    loading ??= load();
    paint(await loading);
  };
  let width = 0;
  new ResizeObserver(() => {
    if (canvas.clientWidth !== width) {
      width = canvas.clientWidth;
      draw();
    }
  }).observe(canvas);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);

  channel.handler = {
    /** Draws the chart, and returns the picture as a PNG. */
    async draw() {
      await draw();
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
      return new Uint8Array(await blob.arrayBuffer());
    },
  };
}
