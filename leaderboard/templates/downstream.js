// What predictions are good for: a tab a question, rows in the order of a ranking that these figures have no part in.
function downstreamView(table, state, open) {
  const asked = table.downstream.questions;
  const tabs = h("div", { role: "tablist", class: "asked", "aria-label": "What predictions are good for" }),
    box = h("div", { class: "scroll" });
  const show = (i) => {
    state.question = i;
    tablist(
      tabs,
      asked.map((question) => question.title),
      i,
      show,
    );
    draw();
  };
  function draw() {
    const question = asked[state.question];
    const rows = table.rows.filter((row) => passes(row, state));
    box.replaceChildren(downstreamTable(table, question, rows, open), h("p", { class: "legend" }, question.note));
  }
  show(Math.min(state.question, asked.length - 1));
  const notes = table.downstream.notes.map((note) => h("p", { class: "say" }, note));
  return { node: h("div", { class: "downstream" }, tabs, notes, box), draw };
}

function downstreamTable(table, question, rows, open) {
  const { ceiling, rows: values } = table.downstream;
  const digits = (name) => (name.startsWith("domains") ? 1 : 3);
  const cell = (row, name) => {
    const found = (values[row.key] || {})[name];
    if (!found) return h("td", {}, h("span", { class: "none" }, ABSENT));
    const spread = found[1] === null ? null : h("span", { class: "pm" }, `±${number(found[1], 2)}`);
    return h("td", { class: "fig" }, number(found[0], digits(name)), spread);
  };
  const line = (row) =>
    h(
      "tr",
      openable(row, open),
      h("td", { class: "left" }, row.title, row.encoder ? h("span", { class: "sub" }, row.encoder) : null),
      question.figures.map(([, name]) => cell(row, name)),
    );
  const allowed = question.figures.map(([, name]) =>
    h("td", {}, name in ceiling ? number(ceiling[name], digits(name)) : ABSENT),
  );
  return h(
    "table",
    { class: "grid" },
    h("caption", { hidden: true }, `${table.title}: ${question.title}`),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { class: "left", scope: "col" }, "Method"),
        question.figures.map(([header]) => h("th", { scope: "col" }, header)),
      ),
    ),
    h("tbody", {}, rows.map(line)),
    h(
      "tfoot",
      {},
      h("tr", { class: "quiet" }, h("td", { class: "left" }, "what counting noise allows"), allowed),
    ),
  );
}
