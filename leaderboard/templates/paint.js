// Drawing one map on a canvas: the tissue below, a dot a spot.
const picture = once((uri) => {
  const image = new Image();
  image.src = uri;
  return image;
});

function paint(canvas, held, values, state, uri) {
  const [left, top, width, height] = frame(held),
    size = 760,
    factor = size / width;
  canvas.width = size;
  canvas.height = Math.round(height * factor);
  const context = canvas.getContext("2d"),
    radius = spotRadius(held) * factor,
    ramp = RAMPS[state.colours];
  let low = 0,
    high = 255;
  if (state.scale === "own") {
    [low, high] = extent(values);
  }
  const dots = () => {
    for (let i = 0; i < values.length; i++) {
      context.beginPath();
      context.arc((held.xy[2 * i] - left) * factor, (held.xy[2 * i + 1] - top) * factor, radius, 0, 2 * Math.PI);
      context.fillStyle = `rgb(${ramp[Math.max(0, Math.min(255, Math.round((255 * (values[i] - low)) / (high - low || 1))))]})`;
      context.fill();
    }
  };
  const image = uri && state.tissue > 0 ? picture(uri) : null;
  const all = () => {
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.globalAlpha = state.tissue;
    context.drawImage(image, -left * factor, -top * factor, held.size[0] * factor, held.size[1] * factor);
    context.globalAlpha = 0.92;
    dots();
  };
  if (!image) dots();
  else if (image.complete && image.naturalWidth) all();
  else {
    dots();
    image.addEventListener("load", all, { once: true });
  }
}

// What is drawn of a section: its spots and three radii around.
const frame = once((held) => {
  const xs = held.xy.filter((_, i) => i % 2 === 0),
    ys = held.xy.filter((_, i) => i % 2 === 1),
    margin = 3 * spotRadius(held);
  const [left, right] = extent(xs),
    [top, bottom] = extent(ys);
  return [left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin];
});

// 38 % of the usual distance to the nearest spot, looked up once a section.
const spotRadius = once((held) => {
  const n = held.xy.length / 2,
    nearest = [];
  for (let i = 0; i < n; i += Math.max(1, Math.floor(n / 80))) {
    let best = Infinity;
    for (let j = 0; j < n; j++) {
      if (i === j) continue;
      best = Math.min(best, Math.hypot(held.xy[2 * i] - held.xy[2 * j], held.xy[2 * i + 1] - held.xy[2 * j + 1]));
    }
    nearest.push(best);
  }
  nearest.sort((a, b) => a - b);
  const usual = nearest[nearest.length >> 1];
  return 0.38 * (Number.isFinite(usual) && usual > 0 ? usual : 1);
});
