// What another dataset costs: each headline figure here, of the same method trained within the tested dataset, and the drop.
function transferView(table, state, open) {
  const figures = table.sets.headline.filter((figure) => table.rows.some((row) => row.drop && figure in row.drop));
  const groups = h(
    "tr",
    {},
    h("th", { class: "left", rowspan: 2, scope: "col" }, "Method"),
    figures.map((figure) => h("th", { colspan: 3, scope: "colgroup" }, label(figure))),
  );
  const heads = h("tr", {}, figures.map(() => ["here", "within", "drop"].map((t) => h("th", { scope: "col" }, t))));
  const body = h("tbody");
  const of = (row, part, figure) => (row[part] && figure in row[part] ? row[part][figure] : null);
  function draw() {
    const rows = table.rows.filter((row) => passes(row, state));
    body.replaceChildren(
      ...rows.map((row) =>
        h(
          "tr",
          openable(row, open),
          h("td", { class: "left" }, row.title, row.encoder ? h("span", { class: "sub" }, row.encoder) : null),
          figures.map((figure) => [
            h("td", {}, number(mean(row, figure))),
            h("td", {}, number(of(row, "within", figure))),
            h("td", { class: of(row, "drop", figure) > 0 ? "worse" : "" }, signed(of(row, "drop", figure))),
          ]),
        ),
      ),
    );
  }
  draw();
  const node = h(
    "div",
    {},
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "grid" },
        h("caption", { hidden: true }, `${table.title}: what the transfer costs`),
        h("thead", {}, groups, heads),
        body,
      ),
    ),
    h(
      "p",
      { class: "legend" },
      `Here: trained on ${table.learned}, tested on ${table.dataset}. Within: the same method trained on other patients of ${table.dataset}. Drop: what is lost of it here, above 0 a loss (of MSE too). Each side has the genes of its own training spots; the markers (MG) alone are the same.`,
    ),
  );
  return { node, draw };
}
