// What a search of readings and the ablations found: judged on validation sides, then claims and the paper's rows on test sides.
// The filter leaves the lines (a point with its readings, a claim, a row, a verdict) in which its words stand.
function readingsView(table, state) {
  const none = h("p", { class: "pad" }, "No reading, claim or row matches the filter.");
  const node = h("div", { class: "searched" }, none, table.readings.map((found) => SEARCHED[found.kind](found)));
  const lines = [...node.querySelectorAll("tbody tr, .claims li")];
  function draw() {
    for (const line of lines) line.hidden = !holds(line.textContent, state);
    none.hidden = lines.some((line) => !line.hidden);
  }
  draw();
  return { node, draw };
}

const SEARCHED = { readings: readingsReport, ablation: ablationReport };

function readingsReport(found) {
  const ranked = [...found.judged].sort((a, b) => compareValues(a.excess, b.excess, false) || a.number - b.number),
    own = found.judged.find((one) => one.number === 0),
    chosen = found.judged.find((one) => one.number === found.chosen);
  const points = [...new Set(found.effects.map((effect) => effect.point))];
  const range = extent(found.effects.map((effect) => effect.median));
  const cell = (effect) =>
    h(
      "li",
      {
        style: effect.median === null ? null : `--heat:${Math.round(60 * (1 - (effect.median - range[0]) / (range[1] - range[0])))}%`,
        title: `${effect.n} combinations${effect.failed ? `, ${effect.failed} failed in a fold` : ""}`,
      },
      effect.own ? h("b", {}, `${effect.reading} *`) : effect.reading,
      h("small", {}, number(effect.median, 4)),
    );
  return [
    h(
      "div",
      { class: "pad" },
      h("h3", {}, `Readings of ${found.method}: ${found.judged.length} of ${found.combinations.toLocaleString("en")}`),
      h(
        "p",
        { class: "soft" },
        `Judged by validation ${found.select.toUpperCase()} alone. `,
        chosen ? `Chosen: ${chosen.method}, excess ${number(chosen.excess, 4)}` : "",
        own ? `; the default's is ${number(own.excess, 4)}, rank ${ranked.indexOf(own) + 1}.` : ".",
      ),
    ),
    sheet(
      ["Point", "Median excess of the combinations with each reading"],
      points.map((point) => [point, h("ul", { class: "readings" }, found.effects.filter((effect) => effect.point === point).map(cell))]),
      "points",
    ),
    h(
      "p",
      { class: "legend" },
      "Excess: above the best combination of the fold, mean over folds; the darker the better. * what the method does by default.",
    ),
    found.claims.length
      ? [
          sheet(
            ["Claim of the paper, on test sides", "holds", "by patient"],
            found.claims.map((claim) => [
              claim.text,
              `${claim.held} of ${claim.measured}`,
              Object.entries(claim.patients).map(([patient, n]) => `${patient} ${n}`).join(", "),
            ]),
          ),
          h("p", { class: "legend" }, "Under how many combinations the claim has the paper's direction, on average and for each patient."),
        ]
      : null,
  ];
}

function ablationReport(found) {
  return [
    h("div", { class: "pad" }, h("h3", {}, "Ablation"), h("p", { class: "soft" }, found.note)),
    found.blocks.map((block) => {
      const figures = Object.keys(NAMES).filter((name) => block.rows.some((row) => row.reported[name]));
      const here = (row, name) => (row.measured[name] ? row.measured[name].mean : null);
      const paper = (row, name) => (row.reported[name] ? row.reported[name][0] : null);
      return [
        h("div", { class: "pad" }, h("h3", {}, block.title)),
        sheet(
          ["Row", ...figures.flatMap((name) => [`${NAMES[name]} here`, "paper"])],
          block.rows.map((row) => [
            [row.label, h("span", { class: "sub" }, row.method)],
            ...figures.flatMap((name) => [number(here(row, name)), number(paper(row, name))]),
          ]),
        ),
        h(
          "ul",
          { class: "claims pad" },
          block.verdicts.map((v) => h("li", { class: v.gap === null ? "" : v.gap > 0 ? "same" : "other" }, v.text)),
        ),
      ];
    }),
  ];
}

// A plain table: its first column is text, the others figures.
function sheet(heads, lines, kind) {
  const side = (i) => (i ? "" : "left");
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: kind },
      h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { class: side(i), scope: "col" }, head)))),
      h("tbody", {}, lines.map((line) => h("tr", {}, line.map((value, i) => h("td", { class: side(i) }, value))))),
    ),
  );
}
