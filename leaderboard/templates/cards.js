// What stands around a table: its facts, its legend, and what papers report.
function toggle(name, state, changed, there) {
  return there
    ? h(
        "label",
        {},
        h("input", {
          type: "checkbox",
          checked: state[name],
          onchange: (e) => {
            state[name] = e.target.checked;
            changed();
          },
        }),
        name,
      )
    : null;
}

function facts(table) {
  const ceiling = Object.entries(table.ceiling)
    .map(([name, value]) => `${NAMES[name].replace("PCC ", "")} ${number(value, 2)}`)
    .join(", ");
  return h(
    "div",
    { class: "meta" },
    h("span", {}, "dataset ", h("b", {}, datasets(table))),
    h("span", {}, "track ", h("b", {}, table.track)),
    h("span", { title: table.hash }, "protocol hash ", h("code", {}, table.hash.slice(0, 12))),
    h("span", {}, `${table.patients.length} patients, ${table.sections.length} sections, ${table.folds.length} folds`),
    table.images ? null : h("span", {}, "no images"),
    table.reference ? h("span", {}, `compared with ${table.against}`) : null,
    ceiling
      ? h(
          "span",
          { title: "No prediction of the rates can be expected to correlate higher with the counts" },
          `counting-noise ceiling: ${ceiling}`,
        )
      : null,
  );
}

function legend(table) {
  const sample = (parts) => strip([0, 1], { width: 56, ...parts });
  const few = !table.rows.some((row) => row.statistics.pcc_hvg && row.statistics.pcc_hvg.interval);
  return h(
    "p",
    { class: "legend" },
    sample({ value: 0.5, patients: [0.2, 0.4, 0.8] }),
    "mean and patients ",
    few ? null : [sample({ value: 0.5, interval: [0.25, 0.75] }), "95 % over patients "],
    table.best_control ? [sample({ mark: 0.5 }), "best control "] : null,
    "· ± standard deviation over patients, seeds averaged. Means go over genes, a patient's sections, then patients. Ranked by PCC HVG; equal to three decimals is a tie. A row opens on a click or Enter.",
  );
}

function reportedCard(all) {
  const cell = (pair) =>
    pair ? number(pair[0]) + (pair[1] === null ? "" : ` ± ${number(pair[1])}`) : ABSENT;
  return h(
    "section",
    { class: "card", "aria-label": "Reported, not measured" },
    h(
      "div",
      { class: "pad" },
      h("h2", {}, "Reported, not measured"),
      h(
        "p",
        { class: "soft" },
        "Figures from papers, each on a protocol of its own or on folds that are unstated. They are never ranked with the rows above; only the direction of a claim is held against our patients.",
      ),
    ),
    all.map((reported) => {
      const measured = reported.verdicts.filter((v) => v.gap !== null);
      return h(
        "details",
        { class: "paper", open: measured.length > 0 },
        h(
          "summary",
          {},
          h("b", {}, reported.title),
          reported.other ? [" ", h("span", { class: "chip warn" }, "other protocol")] : null,
        ),
        h("p", { class: "soft" }, `${reported.origin}.`),
        h(
          "ul",
          { class: "claims" },
          reported.statements.map((text) => h("li", {}, text)),
          measured.map((v) => h("li", { class: v.gap > 0 ? "same" : "other" }, v.text)),
        ),
        reported.rows.length === 0 ? null : h(
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
                h("th", { class: "left" }, "Method, as in the paper"),
                reported.figures.map((f) => h("th", {}, NAMES[f])),
                h("th", {}, "MB"),
              ),
            ),
            h(
              "tbody",
              {},
              reported.rows.map((row) =>
                h(
                  "tr",
                  {},
                  h("td", { class: "left" }, row.label),
                  reported.figures.map((f) => h("td", {}, cell(row[f]))),
                  h("td", {}, number(row.size_mb, 0)),
                ),
              ),
            ),
          ),
        ),
      );
    }),
  );
}
