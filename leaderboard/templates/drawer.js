// The drawer of one row: figures, patients and sections, genes, provenance.
const drawer = document.getElementById("drawer");
const PAGES = ["Figures", "Patients", "Genes", "Provenance"];

function openDrawer(table, row, pickGene, page = row.failed ? 3 : 0) {
  const tabs = h("div", { role: "tablist", "aria-label": "Details" }),
    body = h("div", { class: "body" });
  const link = h("a", {}, "link to this row");
  const makers = [
    () => figurePage(row),
    () => patientPage(table, row),
    () => genePage(table, row, pickGene),
    () => provenancePage(row),
  ];
  const show = (i) => {
    tablist(tabs, PAGES, i, show);
    body.replaceChildren(...makers[i]());
    drawer.scrollTop = 0;
    opened.key = row.key;
    opened.page = i;
    remember();
    link.href = address();
  };
  drawer.replaceChildren(
    h(
      "div",
      { class: "head" },
      h(
        "div",
        { class: "row" },
        h(
          "div",
          {},
          h("h2", { id: "drawer-title" }, row.title),
          h("p", { class: "soft" }, [row.encoder, row.remark].filter(Boolean).join(" · ") || row.kind, h("span", { class: "link" }, " · ", link)),
        ),
        h("button", { class: "close", type: "button", "aria-label": "Close", onclick: () => drawer.close() }, "✕"),
      ),
      tabs,
    ),
    body,
  );
  show(page);
  if (!drawer.open) drawer.showModal();
}
drawer.addEventListener("close", () => {
  if (drawer.open || opened.key === null) return; // opened again before the event came
  opened.key = null;
  remember();
});
drawer.addEventListener("click", (event) => {
  if (event.target === drawer) drawer.close();
});

function figurePage(row) {
  const names = Object.keys(row.figures).sort((a, b) => order(a) - order(b) || a.localeCompare(b));
  if (!names.length) return [h("p", {}, "No figures: a row with a failed cell is never averaged.")];
  const line = (name) => {
    const f = row.figures[name];
    return h(
      "tr",
      {},
      h("td", { class: "left" }, plain(name)),
      f.map((v) => h("td", {}, number(v))),
    );
  };
  return [
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { class: "left" }, "Figure"),
            ["mean", "sd over patients", "sd over seeds"].map((t) => h("th", {}, t)),
          ),
        ),
        h("tbody", {}, names.map(line)),
      ),
    ),
    h(
      "dl",
      {},
      pairs({
        "sd ratio": number(row.sd_ratio, 2),
        "undefined pairs": `${number(row.undefined_prediction, 0)} by prediction, ${number(row.undefined_truth, 0)} by truth`,
        parameters: row.n_parameters.toLocaleString("en"),
        "fit seconds": number(row.fit_seconds, 1),
        "peak memory": `${number(row.peak_memory_mb, 0)} MB`,
      }),
    ),
  ];
}
function order(name) {
  const at = Object.keys(NAMES).indexOf(stem(name));
  return (name === stem(name) ? 0 : 10) + (at < 0 ? 5 : at);
}
function plain(name) {
  const base = stem(name);
  if (name.startsWith("pcc_mg:")) return `PCC markers: ${name.slice(7)}`;
  return NAMES[base]
    ? NAMES[base] + (name === base ? "" : ` · ${name.slice(base.length + 1).replaceAll("_", " ")}`)
    : name.replaceAll("_", " ");
}
function pairs(values) {
  return Object.entries(values)
    .filter(([, v]) => v !== null && v !== undefined && v !== "")
    .map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]);
}

function patientPage(table, row) {
  const figures = Object.keys(NAMES).filter((name) => row.by_patient[name] && Object.keys(row.by_patient[name]).length);
  if (!figures.length) return [h("p", {}, "No patients to show.")];
  const box = h("div", { class: "lines" });
  const draw = (figure) => {
    const peers = table.rows.filter((other) => other !== row && other.complete && other.by_patient[figure]);
    const test = row.statistics.pcc_hvg,
      named = (test && test.reference) || table.reference;
    const reference = table.rows.find((other) => other.title === named && other !== row);
    const values = table.rows.flatMap((r) => [
      ...Object.values(r.by_patient[figure] || {}),
      ...Object.values(r.by_section[figure] || {}),
    ]);
    const range = extent(values, 0);
    const line = (level, unit, text) => {
      const value = row[level][figure][unit],
        base = reference && reference[level][figure] ? reference[level][figure][unit] : null;
      const others = peers.map((p) => (p[level][figure] || {})[unit]).filter((v) => v !== undefined);
      return [
        h("span", {}, text),
        spread(range, value, others, base),
        h("span", { class: "num" }, number(value)),
        h(
          "span",
          { class: "num soft" },
          base === null || base === undefined || value === undefined ? "" : signed(value - base),
        ),
      ];
    };
    const lines = table.patients
      .filter((p) => row.by_patient[figure][p] !== undefined)
      .flatMap((patient) => [
        line("by_patient", patient, `patient ${patient}`),
        table.sections
          .filter(
            (sec) => sec.patient === patient && row.by_section[figure] && row.by_section[figure][sec.id] !== undefined,
          )
          .map((sec) => line("by_section", sec.id, h("span", { class: "soft" }, `  ${sec.id}`))),
      ]);
    box.replaceChildren(
      h(
        "span",
        { class: "lead" },
        `From ${number(range[0], 2)} to ${number(range[1], 2)}. Pale dots: the other rows; ring: ${reference ? reference.title : "no reference"}; the last column is the difference to it.`,
      ),
      ...lines.flat(Infinity),
    );
  };
  draw(figures.includes("pcc_hvg") ? "pcc_hvg" : figures[0]);
  return [
    segments(
      "Figure",
      Object.fromEntries(figures.map((f) => [f, NAMES[f]])),
      figures.includes("pcc_hvg") ? "pcc_hvg" : figures[0],
      draw,
    ),
    box,
  ];
}

function genePage(table, row, pickGene) {
  const values = geneValues(row),
    ceilings = geneCeilings(table);
  if (!values.length) return [h("p", {}, "No scores by gene are stored beside these records.")];
  const lists = Object.fromEntries(["hvg", "heg", "mg"].map((k) => [k, new Set(table.gene_lists[k] || [])]));
  const range = extent([...values, ...ceilings, 1], 0),
    box = h("div", { class: "lines" });
  const all = table.genes
    .map((gene, i) => ({ gene, value: values[i], ceiling: ceilings[i] }))
    .filter((g) => g.value !== null);
  const state = { text: "", sort: "best", list: "all" };
  const draw = () => {
    let found = all.filter(
      (g) =>
        g.gene.toLowerCase().includes(state.text.toLowerCase()) &&
        (state.list === "all" || lists[state.list].has(g.gene)),
    );
    found.sort((a, b) => (state.sort === "worst" ? a.value - b.value : b.value - a.value));
    const many = found.length;
    found = found.slice(0, 60);
    box.replaceChildren(
      h(
        "span",
        { class: "lead" },
        `${many} genes${many > 60 ? ", the first 60 shown" : ""}. Bar: counting-noise ceiling; the last column is the ceiling.`,
      ),
      ...found.flatMap((g) => [
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              opened.key = null;
              drawer.close();
              pickGene(g.gene);
            },
          },
          g.gene,
        ),
        spread(range, g.value, [], null, g.ceiling),
        h("span", { class: "num" }, number(g.value)),
        h("span", { class: "num soft" }, number(g.ceiling, 2)),
      ]),
    );
  };
  draw();
  return [
    h(
      "div",
      { class: "bar", style: "padding:0;border:0" },
      h("input", {
        type: "search",
        placeholder: "Find a gene",
        "aria-label": "Find a gene",
        oninput: (e) => {
          state.text = e.target.value;
          draw();
        },
      }),
      segments("List", { all: "all", hvg: "HVG", heg: "HEG", mg: "MG" }, "all", (k) => {
        state.list = k;
        draw();
      }),
      segments("Order", { best: "best first", worst: "worst first" }, "best", (k) => {
        state.sort = k;
        draw();
      }),
    ),
    box,
  ];
}
