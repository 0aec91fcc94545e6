// Small drawings in cells: each is decoration beside a number that says the same.
function extent(values, floor) {
  let low = Infinity,
    high = -Infinity;
  for (const value of values) {
    if (value === null || value === undefined) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low === Infinity) return [0, 1];
  if (floor !== undefined) low = Math.min(low, floor);
  return high > low ? [low, high] : [low, low + 1];
}
function scaler([low, high], width, pad = 4) {
  return (value) => pad + ((value - low) / (high - low)) * (width - 2 * pad);
}

// Mean as a dot, 95 % interval as a bar where patients allow one, patients as ticks, the best control as a dashed line.
function strip(range, { value, interval, patients, mark, width = 84 }) {
  const x = scaler(range, width),
    clip = (v) => Math.max(0, Math.min(width, x(v))),
    middle = 7;
  const line = (cls, at, top, bottom) => s("line", { class: cls, x1: clip(at), x2: clip(at), y1: top, y2: bottom });
  return s(
    "svg",
    { width, height: 14, viewBox: `0 0 ${width} 14`, "aria-hidden": "true", focusable: "false" },
    s("line", { class: "axis", x1: 0, x2: width, y1: middle, y2: middle }),
    mark === null || mark === undefined ? null : line("mark", mark, 0, 14),
    interval
      ? s("line", { class: "span", x1: clip(interval[0]), x2: clip(interval[1]), y1: middle, y2: middle })
      : null,
    (patients || []).map((v) => line("tick", v, 3.5, 10.5)),
    value === null || value === undefined ? null : s("circle", { class: "dot", cx: clip(value), cy: middle, r: 3.4 }),
  );
}

// One line of a drill-down: all rows as pale dots, the reference as a ring, this row as a full dot.
function spread(range, value, others, reference, ceiling) {
  // Per cent, so that the line takes any width and its dots stay round.
  const at = scaler(range, 100, 2),
    x = (v) => `${Math.max(0, Math.min(100, at(v))).toFixed(2)}%`;
  return s(
    "svg",
    { height: 16, "aria-hidden": "true" },
    s("line", { class: "axis", x1: 0, x2: "100%", y1: 8, y2: 8 }),
    ceiling === null || ceiling === undefined
      ? null
      : s("line", { class: "ceil", x1: x(ceiling), x2: x(ceiling), y1: 2, y2: 14 }),
    others.map((v) => s("circle", { class: "other", cx: x(v), cy: 8, r: 2.6 })),
    reference === null || reference === undefined
      ? null
      : s("circle", { class: "ring", cx: x(reference), cy: 8, r: 5 }),
    value === null || value === undefined ? null : s("circle", { class: "dot", cx: x(value), cy: 8, r: 4.4 }),
  );
}

// Three ramps in nine stops, each lighter all the way, so that order survives any colour blindness and print in grey.
const RAMPS = Object.fromEntries(
  Object.entries({
    viridis: "440154 472c7a 3b518b 2c718e 21908d 27ad81 5cc863 aadc32 fde725",
    cividis: "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 fee838",
    grey: "1a1a1a 363636 525252 6e6e6e 8a8a8a a6a6a6 c2c2c2 dedede fafafa",
  }).map(([name, text]) => {
    const stops = text.split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
    const between = (i) => {
      const t = (i / 255) * (stops.length - 1),
        k = Math.min(stops.length - 2, Math.floor(t));
      return stops[k].map((c, j) => Math.round(c + (t - k) * (stops[k + 1][j] - c)));
    };
    return [name, Array.from({ length: 256 }, (_, i) => between(i))];
  }),
);
