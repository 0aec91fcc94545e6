// The main table of one protocol: columns, sorting, filtering.
function columnsOf(table, set) {
  if (set === "cost") return costColumns();
  const figures = table.sets[set] || [];
  const tested = table.rows.some((row) => row.statistics.pcc_hvg && row.statistics.pcc_hvg.p_adjusted !== null);
  const stat = (row, name) => (row.statistics.pcc_hvg ? row.statistics.pcc_hvg[name] : null);
  const columns = figures.map((figure) => figureColumn(table, figure));
  if (set === "headline" && table.rows.some((row) => row.within)) {
    const found = (row, part) => (row[part] ? row[part].pcc_hvg : null);
    columns.push({
      name: "within",
      title: "PCC HVG of the same method trained within the tested dataset, on that training side's genes",
      value: (r) => found(r, "within"),
      text: (r) => number(found(r, "within")),
    });
    columns.push({
      name: "drop",
      title: "What testing on another dataset loses of PCC HVG: within less transfer",
      value: (r) => found(r, "drop"),
      text: (r) => number(found(r, "drop")),
      ascending: true,
    });
  }
  columns.push({
    name: "sd ratio",
    title: "Median of sd(prediction) / sd(truth) over genes: near 0 is collapse to the mean",
    value: (r) => r.sd_ratio,
    text: (r) => number(r.sd_ratio, 2),
  });
  columns.push({
    name: "undef.",
    title: "Section-gene pairs with a constant prediction, counted as PCC 0",
    value: (r) => r.undefined_prediction,
    text: (r) => number(r.undefined_prediction, 0),
    ascending: true,
  });
  const grouped = table.rows.some((row) => stat(row, "tie") !== null);
  if (tested) {
    columns.push({
      name: "p",
      title: `Sign-flip p of HVG against ${table.against}, max-T adjusted`,
      value: (r) => stat(r, "p_adjusted"),
      text: (r) => number(stat(r, "p_adjusted")),
      ascending: true,
    });
  }
  if (grouped) {
    columns.push({
      name: "ranks",
      title: "95 % interval of the rank, bootstrap over patients",
      value: (r) => (stat(r, "ranks") || [null])[0],
      text: (r) => (stat(r, "ranks") ? [...new Set(stat(r, "ranks"))].join("–") : ABSENT),
      ascending: true,
    });
    columns.push({
      name: "tie",
      title: "Members of a group are not told apart from its best one",
      value: (r) => stat(r, "tie"),
      text: (r) => stat(r, "tie") || ABSENT,
      ascending: true,
    });
  }
  columns.push({
    name: "cells",
    title: "Folds × seeds",
    value: (r) => r.n_folds * r.n_seeds,
    text: (r) => `${r.n_folds} × ${r.n_seeds}`,
  });
  return columns;
}

function costColumns() {
  const column = (name, title, key, digits) => ({
    name,
    title,
    value: (r) => r[key],
    text: (r) => number(r[key], digits),
    ascending: true,
  });
  return [
    { name: "PCC HVG", value: (r) => mean(r, "pcc_hvg"), text: (r) => number(mean(r, "pcc_hvg")) },
    {
      name: "parameters",
      value: (r) => r.n_parameters,
      text: (r) => r.n_parameters.toLocaleString("en"),
      ascending: true,
    },
    column("MB", "Trained weights as fp32", "size_mb", 1),
    column("fit s", "Mean of a cell", "fit_seconds", 1),
    column("peak MB", "Largest of a cell", "peak_memory_mb", 0),
  ];
}

function figureColumn(table, figure) {
  const lower = lowerIsBetter(figure),
    rows = table.rows.filter((row) => mean(row, figure) !== null);
  // An exploded error must not flatten everyone else's strip: the axis ends at four times the median.
  const all = rows
    .flatMap((row) => [mean(row, figure), ...Object.values(row.by_patient[figure] || {})])
    .filter((v) => v !== null);
  const sorted = [...all].sort((a, b) => a - b),
    cap = lower ? 4 * (sorted[sorted.length >> 1] || 1) : Infinity;
  const range = extent(
    all.map((v) => Math.min(v, cap)),
    0,
  );
  const ranked = rows.filter((row) => row.rank !== null).map((row) => mean(row, figure));
  const best = ranked.length ? (lower ? Math.min(...ranked) : Math.max(...ranked)) : null;
  const control = table.rows.find((row) => row.key === table.best_control);
  return {
    name: label(figure),
    figure,
    title: figureTitle(table, figure, range),
    ascending: lower,
    value: (row) => mean(row, figure),
    cell: (row) => {
      const found = row.figures[figure];
      if (!found) return [h("span", { class: "none" }, ABSENT)];
      const test = row.statistics[figure],
        interval = test ? test.interval : null;
      return [
        h("span", { class: row.rank !== null && found[0] === best ? "best" : "" }, number(found[0])),
        found[1] === null
          ? null
          : h(
              "span",
              { class: "pm", title: "standard deviation over patients, seeds averaged" },
              `±${number(found[1], 2)}`,
            ),
        strip(range, {
          value: found[0],
          interval,
          patients: Object.values(row.by_patient[figure] || {}),
          mark: control ? mean(control, figure) : null,
        }),
      ];
    },
  };
}

function figureTitle(table, figure, range) {
  const ceiling = table.ceiling[figure];
  return (
    `Strip from ${number(range[0], 2)} to ${number(range[1], 2)}` +
    (ceiling ? `; counting-noise ceiling ${number(ceiling)}` : "")
  );
}

function boardTable(table, state, open) {
  const columns = columnsOf(table, state.set);
  const sorted = columns.find((column) => column.name === state.sort);
  const body = h("tbody");
  const head = h(
    "tr",
    {},
    h(
      "th",
      { class: "left", scope: "col", "aria-sort": sorted ? null : "ascending" },
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            state.sort = null;
            draw();
          },
        },
        "Method",
      ),
    ),
  );
  const headers = columns.map((column) =>
    h(
      "th",
      { scope: "col", title: column.title || null },
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            state.down = state.sort === column.name ? !state.down : !column.ascending;
            state.sort = column.name;
            draw();
          },
        },
        column.name,
      ),
    ),
  );
  head.append(...headers);

  const made = once((row) => boardRow(row, columns, open));
  function draw() {
    const by = columns.find((column) => column.name === state.sort);
    const rows = table.rows.filter((row) => passes(row, state));
    if (by) rows.sort((a, b) => compareValues(by.value(a), by.value(b), state.down));
    head.firstChild.toggleAttribute("aria-sort", !by);
    if (!by) head.firstChild.setAttribute("aria-sort", "ascending");
    columns.forEach((column, i) => {
      if (column === by) headers[i].setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else headers[i].removeAttribute("aria-sort");
    });
    body.replaceChildren(...rows.map(made));
    if (!rows.length)
      body.append(h("tr", {}, h("td", { class: "left", colspan: columns.length + 1 }, "No row matches the filter.")));
  }
  draw();
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const to = { ArrowDown: row && row.nextElementSibling, ArrowUp: row && row.previousElementSibling }[event.key];
    if (to) {
      event.preventDefault();
      to.focus();
    }
  });
  return {
    node: h("table", { class: "grid" }, h("caption", { hidden: true }, table.title), h("thead", {}, head), body),
    draw,
  };
}

// What is absent stays at the bottom whichever way the column is sorted.
function compareValues(a, b, down) {
  const none = (v) => v === null || v === undefined;
  if (none(a) || none(b)) return none(a) - none(b);
  return down ? b - a : a - b;
}

function passes(row, state) {
  if (!state.controls && row.kind === "control") return false;
  if (!state.oracles && row.kind === "oracle") return false;
  return holds(`${row.title} ${row.encoder || ""} ${row.kind}`, state);
}

// Whether every word of the filter stands in a text.
function holds(text, state) {
  const wanted = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  return wanted.every((word) => text.toLowerCase().includes(word));
}

function boardRow(row, columns, open) {
  const kinds = {
    control: "A baseline that keeps methods honest",
    oracle: "Sees test counts: never ranked",
    external: "Predictions made outside qbench",
  };
  const name = h(
    "td",
    { class: "left" },
    h(
      "div",
      { class: "name" },
      h("span", { class: "rank" }, row.rank === null ? ABSENT : String(row.rank)),
      h(
        "span",
        { class: "who" },
        row.line,
        " ",
        row.kind in kinds ? h("span", { class: "chip", title: kinds[row.kind] }, row.kind) : null,
        row.beats
          ? h(
              "span",
              { class: "chip good", title: "Above the best of ridge, colour, context and untrained in this table" },
              "beats controls",
            )
          : null,
        row.remark && row.kind !== "oracle"
          ? h("span", { class: row.failed ? "chip bad" : "chip warn" }, row.remark)
          : null,
        row.encoder ? h("span", { class: "sub" }, row.encoder) : null,
      ),
    ),
  );
  const cells = columns.map((column) =>
    h("td", { class: column.cell ? "fig" : "" }, column.cell ? column.cell(row) : column.text(row)),
  );
  return h(
    "tr",
    openable(row, open),
    name,
    cells,
  );
}
