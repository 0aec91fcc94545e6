// One gene: its PCC in every row, and where it is expressed, truth beside the best methods.
const mapValues = once((section) => bytes(section.values));

function geneCard(table) {
  const sections = sectionsOf(table),
    state = geneStateOf(table),
    link = h("a", { class: "link" }, "link to this gene");
  const known = new Set(table.genes),
    list = h(
      "datalist",
      { id: "genes" },
      table.genes.map((gene) => h("option", { value: gene })),
    );
  const picker = h("input", {
    type: "search",
    list: "genes",
    id: "gene",
    "aria-label": "Gene",
    value: state.gene || "",
    spellcheck: "false",
    autocomplete: "off",
    oninput: (e) => {
      if (known.has(e.target.value)) {
        state.gene = e.target.value;
        draw();
        remember();
      }
    },
  });
  const bars = h("div", { class: "genes lines", id: "gene-bars" }),
    maps = h("div", { class: "maps", id: "gene-maps" }),
    ramp = h("span", { class: "ramp" });
  const quick = h("select", { "aria-label": "Genes with maps", onchange: (e) => pick(e.target.value) });
  function draw() {
    const held = state.section ? table.maps.sections[state.section] : null;
    quick.replaceChildren(
      ...(held ? held.genes : []).map((gene) => h("option", { value: gene, selected: gene === state.gene }, gene)),
    );
    if (held && !held.genes.includes(state.gene))
      quick.prepend(h("option", { value: "", selected: true }, "genes with a map"));
    geneBars(table, state.gene, bars);
    drawMaps(table, state, maps, ramp);
    link.href = address();
  }
  function pick(gene) {
    if (!known.has(gene)) return;
    state.gene = gene;
    picker.value = gene;
    draw();
    remember();
  }
  draw();
  const node = h(
    "section",
    { class: "card", id: "gene-card", "aria-label": "One gene" },
    h(
      "div",
      { class: "pad" },
      h("h2", {}, "One gene"),
      h("p", { class: "soft" }, "Truth and the five best rows on the tissue; PCC of the gene in every row. ", link),
    ),
    h(
      "div",
      { class: "bar" },
      picker,
      list,
      sections.length
        ? [
            h("label", {}, "map of", quick),
            h(
              "label",
              {},
              "section",
              h(
                "select",
                {
                  id: "section",
                  "aria-label": "Section",
                  onchange: (e) => {
                    state.section = e.target.value;
                    draw();
                    remember();
                  },
                },
                sections.map((name) => h("option", { value: name, selected: name === state.section }, name)),
              ),
            ),
            segments("Size of the maps", { small: "small", large: "large" }, "small", (k) =>
              maps.classList.toggle("large", k === "large"),
            ),
            segments("Colour scale", { shared: "one scale", own: "own scales" }, state.scale, (k) => {
              state.scale = k;
              draw();
            }),
            h(
              "label",
              {},
              "colours",
              h(
                "select",
                {
                  "aria-label": "Colours of the maps",
                  onchange: (e) => {
                    state.colours = e.target.value;
                    draw();
                  },
                },
                Object.keys(RAMPS).map((name) => h("option", { value: name, selected: name === state.colours }, name)),
              ),
            ),
            h(
              "label",
              {},
              "tissue",
              h("input", {
                type: "range",
                min: 0,
                max: 1,
                step: 0.05,
                value: state.tissue,
                "aria-label": "Opacity of the tissue picture",
                oninput: (e) => {
                  state.tissue = Number(e.target.value);
                  draw();
                },
              }),
            ),
            ramp,
          ]
        : null,
    ),
    maps,
    bars,
  );
  return {
    node,
    pick: (gene) => {
      pick(gene);
      node.scrollIntoView({ behavior: "smooth", block: "start" });
      picker.focus({ preventScroll: true });
    },
  };
}

function firstGene(table) {
  const held = table.maps ? Object.values(table.maps.sections)[0] : null;
  return held && held.genes.length ? held.genes[0] : table.genes[0];
}

function geneBars(table, gene, node) {
  const at = table.genes.indexOf(gene),
    ceiling = geneCeilings(table)[at];
  const rows = table.rows
    .map((row) => ({ row, value: at < 0 ? null : geneValues(row)[at] }))
    .filter((r) => r.value !== null && r.value !== undefined);
  rows.sort((a, b) => b.value - a.value);
  const range = extent([...rows.map((r) => r.value), ceiling, 0.5], 0);
  const lists = ["hvg", "heg", "mg"]
    .filter((k) => (table.gene_lists[k] || []).includes(gene))
    .map((k) => k.toUpperCase());
  node.replaceChildren(
    h(
      "span",
      { class: "lead" },
      h("b", {}, gene || ABSENT),
      lists.length ? ` (${lists.join(", ")})` : "",
      ceiling ? `. Counting-noise ceiling ${number(ceiling)}, the upright bar.` : ".",
    ),
    ...rows
      .slice(0, 40)
      .flatMap(({ row, value }) => [
        h("span", {}, row.title),
        spread(range, value, [], null, ceiling),
        h("span", { class: "num" }, number(value)),
        h("span", { class: "soft" }, row.kind === "oracle" ? "oracle" : ""),
      ]),
  );
}

function drawMaps(table, state, node, ramp) {
  const held = state.section ? table.maps.sections[state.section] : null,
    at = held ? held.genes.indexOf(state.gene) : -1;
  ramp.replaceChildren();
  if (at < 0) {
    node.replaceChildren(
      h(
        "p",
        { class: "soft" },
        held
          ? "This file holds no map of that gene: name it with --genes."
          : "No predictions are stored beside these records, so there are no maps.",
      ),
    );
    return;
  }
  const layers = 1 + table.maps.rows.length,
    spots = held.xy.length / 2,
    all = mapValues(held);
  const titles = ["Truth", ...table.maps.rows.map((key) => table.rows.find((row) => row.key === key).title)];
  const figures = titles.map((title, i) => {
    const start = (at * layers + i) * spots,
      values = all.subarray(start, start + spots),
      pcc = i ? held.pcc[at][i - 1] : null;
    const missing = i > 0 && held.absent[i - 1];
    const canvas = h("canvas", { role: "img", "aria-label": `${state.gene} on ${state.section}, ${title}` });
    if (!missing) paint(canvas, held, values, state, DATA.images[`${table.dataset}/${state.section}`]);
    return h(
      "figure",
      { class: i ? "" : "truth" },
      canvas,
      h(
        "figcaption",
        {},
        h("span", {}, title),
        h(
          "span",
          { class: "soft" },
          missing ? "not run" : i ? `PCC ${number(pcc)}` : `up to ${number(held.scale[at], 2)}`,
        ),
      ),
    );
  });
  node.replaceChildren(...figures, ...finerFigure(held, state, DATA.images[`${table.dataset}/${state.section}`]));
  const bar = h("canvas", { width: 256, height: 1, "aria-hidden": "true" }),
    context = bar.getContext("2d");
  RAMPS[state.colours].forEach((colour, i) => {
    context.fillStyle = `rgb(${colour})`;
    context.fillRect(i, 0, 1, 1);
  });
  ramp.append(
    state.scale === "shared" ? "0" : "low",
    bar,
    state.scale === "shared" ? `${number(held.scale[at], 2)} log1p` : "high",
  );
}

// A map finer than spots, of a model that was fitted apart: no figure of the board is of it.
function finerFigure(held, state, uri) {
  const found = held.finer,
    at = found ? found.genes.indexOf(state.gene) : -1;
  if (at < 0) return [];
  const canvas = h("canvas", { role: "img", "aria-label": `${state.gene} on ${state.section}, ${found.title}, finer than spots` });
  const largest = state.scale === "shared" ? held.scale[held.genes.indexOf(state.gene)] : found.scale[at];
  paintFiner(canvas, held, found, at, largest, state, uri);
  return [
    h(
      "figure",
      {},
      canvas,
      h("figcaption", {}, h("span", {}, `${found.title}, every ${found.resolution}`), h("span", { class: "soft" }, `up to ${number(found.scale[at], 2)}`)),
      h("p", { class: "soft note" }, `Of a model fitted apart on ${found.dataset}, perhaps on this section too: not a cell of the board, and judged nowhere.`),
    ),
  ];
}
