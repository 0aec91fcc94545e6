// Drawing one map on a canvas: the tissue below, a dot a spot.
const picture = once((uri) => {
  const image = new Image();
  image.src = uri;
  return image;
});

function paint(canvas, held, values, state, uri) {
  let low = 0,
    high = 255;
  if (state.scale === "own") {
    [low, high] = extent(values);
  }
  const ramp = RAMPS[state.colours];
  onTissue(canvas, held, state, uri, (context, left, top, factor) => {
    const radius = spotRadius(held) * factor;
    for (let i = 0; i < values.length; i++) {
      context.beginPath();
      context.arc((held.xy[2 * i] - left) * factor, (held.xy[2 * i + 1] - top) * factor, radius, 0, 2 * Math.PI);
      context.fillStyle = `rgb(${ramp[Math.max(0, Math.min(255, Math.round((255 * (values[i] - low)) / (high - low || 1))))]})`;
      context.fill();
    }
  });
}

const finerValues = once((found) => bytes(found.values));

// A picture of one gene, 255 of whose values are its scale; `largest` is where the ramp ends.
function paintFiner(canvas, held, found, at, largest, state, uri) {
  const [rows, columns] = found.shape,
    values = finerValues(found).subarray(at * rows * columns, (at + 1) * rows * columns),
    pixels = new ImageData(columns, rows),
    ramp = RAMPS[state.colours];
  values.forEach((value, i) => {
    if (!value) return; // beside tissue
    const share = (((value - 1) / 254) * found.scale[at]) / largest;
    pixels.data.set([...ramp[Math.min(255, Math.round(255 * share))], 255], 4 * i);
  });
  const small = h("canvas", { width: columns, height: rows });
  small.getContext("2d").putImageData(pixels, 0, 0);
  onTissue(canvas, held, state, uri, (context, left, top, factor) => {
    context.imageSmoothingEnabled = false;
    const edge = found.step * factor;
    context.drawImage(small, (found.left - left) * factor, (found.top - top) * factor, columns * edge, rows * edge);
  });
}

// Draw over the picture of the tissue, once that is there.
function onTissue(canvas, held, state, uri, draw) {
  const [left, top, width, height] = frame(held),
    factor = 760 / width,
    context = canvas.getContext("2d"),
    image = uri && state.tissue > 0 ? picture(uri) : null;
  canvas.width = 760;
  canvas.height = Math.round(height * factor);
  const all = () => {
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.globalAlpha = state.tissue;
    context.drawImage(image, -left * factor, -top * factor, held.size[0] * factor, held.size[1] * factor);
    context.globalAlpha = 0.92;
    draw(context, left, top, factor);
  };
  if (image && image.complete && image.naturalWidth) {
    all();
    return;
  }
  draw(context, left, top, factor);
  if (image) image.addEventListener("load", all, { once: true });
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
