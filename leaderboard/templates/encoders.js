// Method by encoder: encoders down, methods across, both in the order of their means; the darker the better.
function encoderGrid(table, state, open) {
  const choices = Object.entries(table.sets).flatMap(([set, figures]) =>
    figures.map((figure) => [figure, `${label(figure)} · ${SETS[set]}`]),
  );
  if (!choices.some(([figure]) => figure === state.figure))
    state.figure = choices.some(([figure]) => figure === "pcc_hvg") ? "pcc_hvg" : choices[0][0];
  const box = h("div", {});
  const select = h(
    "select",
    {
      id: "encoder-figure",
      "aria-label": "Figure of the grid",
      onchange: (e) => {
        state.figure = e.target.value;
        draw();
      },
    },
    choices.map(([figure, text]) => h("option", { value: figure, selected: figure === state.figure }, text)),
  );
  function draw() {
    const rows = table.rows.filter((row) => passes(row, state));
    box.replaceChildren(...heat(table, rows, state.figure, open));
  }
  draw();
  return { node: h("div", { class: "heat" }, h("div", { class: "bar" }, h("label", {}, "figure", select)), box), draw };
}

function heat(table, rows, figure, open) {
  const on = rows.filter((row) => row.axis !== null),
    places = new Map(on.map((row) => [`${row.line}\n${row.axis}`, row]));
  const at = (line, axis) => places.get(`${line}\n${axis}`),
    value = (line, axis) => (at(line, axis) ? mean(at(line, axis), figure) : null);
  const average = (values) =>
    values.length && values.every((v) => v !== null) ? values.reduce((a, b) => a + b, 0) / values.length : null;
  const names = (key) => [...new Set(on.map((row) => row[key]))];
  const lower = lowerIsBetter(figure);
  const ordered = (all, of) =>
    all
      .map((name) => ({ name, mean: of(name) }))
      .sort((a, b) => compareValues(a.mean, b.mean, !lower) || (a.name < b.name ? -1 : 1));
  const lines = ordered(names("line"), (line) => average(names("axis").map((axis) => value(line, axis))));
  const encoders = ordered(names("axis"), (axis) => average(names("line").map((line) => value(line, axis))));
  if (!encoders.length) return [h("p", { class: "pad" }, "No row matches the filter.")];
  // As in the table, an exploded error must not flatten the others.
  const all = on.map((row) => mean(row, figure)).filter((v) => v !== null).sort((a, b) => a - b);
  const top = lower ? Math.min(all.at(-1), 4 * (all[all.length >> 1] || 1)) : all.at(-1);
  const share = (v) => (top > all[0] ? Math.min(1, Math.max(0, (v - all[0]) / (top - all[0]))) : 0.5);
  const depth = (v) => Math.round(60 * (lower ? 1 - share(v) : share(v)));

  const cell = (line, axis) => {
    const row = at(line, axis);
    if (!row || mean(row, figure) === null)
      return h("td", { title: row ? row.remark : "not run" }, h("span", { class: "none" }, ABSENT));
    const test = row.statistics[figure],
      apart = test && test.p_adjusted !== null && test.p_adjusted <= 0.05;
    const better = apart && test.difference > 0 !== lower;
    return h(
      "td",
      { class: "place", style: `--heat:${depth(mean(row, figure))}%` },
      h(
        "button",
        { type: "button", title: placeTitle(row, figure), onclick: () => open(row), "data-key": row.key },
        number(mean(row, figure)),
        apart ? h("sup", {}, better ? "▲" : "▼") : null,
      ),
    );
  };
  const head = h(
    "tr",
    {},
    h("th", { class: "left", scope: "col" }, "Encoder"),
    lines.map(({ name }) => h("th", { scope: "col" }, name)),
    h("th", { scope: "col" }, "mean"),
  );
  const body = encoders.map(({ name, mean: m }) =>
    h(
      "tr",
      {},
      h("th", { class: "left", scope: "row" }, name),
      lines.map((line) => cell(line.name, name)),
      h("td", { class: "edge" }, number(m)),
    ),
  );
  const foot = h(
    "tr",
    { class: "edge" },
    h("th", { class: "left", scope: "row" }, "mean"),
    lines.map((line) => h("td", {}, number(line.mean))),
    h("td", {}, number(average(encoders.map((e) => e.mean)))),
  );
  return [
    h("div", { class: "scroll" }, h("table", { class: "matrix" }, h("thead", {}, head), h("tbody", {}, body, foot))),
    h("p", { class: "legend" }, heatLegend(table, rows, figure)),
  ];
}

function placeTitle(row, figure) {
  const found = row.figures[figure],
    test = row.statistics[figure];
  return (
    `${row.line} on ${row.encoder}: ${number(found[0])} over ${row.n_patients} patients` +
    (found[1] === null ? "" : `, ± ${number(found[1])} over them`) +
    (test && test.difference !== null ? `; ${signed(test.difference)} to ${test.reference}` : "") +
    (test && test.p_adjusted !== null ? `, p ${number(test.p_adjusted)}` : "") +
    (row.remark ? `; ${row.remark}` : "")
  );
}

function heatLegend(table, rows, figure) {
  const without = rows.filter((row) => row.axis === null && mean(row, figure) !== null);
  const tested = table.rows.some((row) => row.statistics[figure] && row.statistics[figure].p_adjusted !== null);
  return [
    `Means over ${table.patients.length} patients; the darker the better. Ordered by the means at the edges, which are over a whole line: one with an empty place has none and stands last. `,
    table.sentence
      ? `${table.sentence}: a darker place is no proof of a better one. `
      : tested
        ? `▲ ▼: told apart from ${table.against}, p ≤ .05 over all rows of the table. `
        : "",
    without.length
      ? `Without an encoder of the run: ${without.map((row) => `${row.title} ${number(mean(row, figure))}`).join(", ")}.`
      : "",
  ];
}
