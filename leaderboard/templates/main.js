// The page: tabs of protocols and tracks, the card of each table, theme.
const board = document.getElementById("board");
const protocols = [];
for (const table of DATA.tables) {
  const found = protocols.find((p) => p.hash === table.hash);
  if (found) found.tables.push(table);
  else protocols.push({ hash: table.hash, tables: [table] });
}
const shown = { protocol: 0, track: 0 };
const stateOf = once(() => ({ view: "rows", figure: null, question: 0, set: "headline", sort: null, down: true, filter: "", controls: true, oracles: true }));

const VIEWS = { rows: boardTable, encoders: encoderGrid, downstream: downstreamView, transfer: transferView, readings: readingsView };
function viewsOf(table) {
  return {
    rows: "Rows",
    ...(table.encoders.length > 1 ? { encoders: "Method by encoder" } : {}),
    ...(table.downstream ? { downstream: "Downstream" } : {}),
    ...(table.rows.some((row) => row.drop) ? { transfer: "Transfer" } : {}),
    ...(table.readings.length ? { readings: "Readings" } : {}),
  };
}

// Draws the chosen table, and returns what opens a row of it.
function showTable() {
  const tabs = document.getElementById("tabs");
  tablist(
    tabs,
    protocols.map(({ tables: [t] }) => [
      h("b", {}, `${t.protocol} · ${t.target}`),
      h(
        "small",
        {},
        datasets(t),
        t.images ? "" : ", no images",
        " ",
        t.leaky ? h("span", { class: "chip bad" }, "LEAKY") : null,
        t.simulated ? h("span", { class: "chip warn" }, "SIMULATED") : null,
      ),
    ]),
    shown.protocol,
    (i) => {
      shown.protocol = i;
      shown.track = 0;
      showTable();
      remember();
    },
  );
  tabs.hidden = protocols.length === 0;
  if (!protocols.length) {
    board.replaceChildren(h("p", { class: "card pad" }, "No results yet."));
    return null;
  }
  const tables = protocols[shown.protocol].tables,
    table = tables[shown.track],
    state = stateOf(table);
  const gene = table.genes.length || table.maps ? geneCard(table) : null;
  const open = (row, page) => openDrawer(table, row, (name) => gene && gene.pick(name), page);
  let grid = null;
  const scroll = h("div", { class: "scroll" }),
    strips = legend(table);
  const set = h(
    "label",
    {},
    "figures",
    h(
      "select",
      {
        id: "set",
        "aria-label": "Set of figures",
        onchange: (e) => {
          state.set = e.target.value;
          redraw();
        },
      },
      [...Object.keys(table.sets), "cost"].map((key) =>
        h("option", { value: key, selected: key === state.set }, SETS[key]),
      ),
    ),
  );
  const kinds = ["control", "oracle"].map((kind) =>
    toggle(`${kind}s`, state, () => grid.draw(), table.rows.some((row) => row.kind === kind)),
  );
  const redraw = () => {
    set.hidden = strips.hidden = state.view !== "rows";
    for (const kind of kinds) if (kind) kind.hidden = state.view === "readings"; // which has no row of either
    grid = VIEWS[state.view](table, state, open);
    scroll.replaceChildren(grid.node);
  };
  redraw();
  const offered = viewsOf(table);
  const views = segments("View", offered, state.view, (view) => {
    state.view = view;
    redraw();
    remember();
  });
  const tracks = h(
    "span",
    { class: "seg", role: "group", "aria-label": "Track" },
    tables.map((t, i) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(i === shown.track),
          onclick: () => {
            shown.track = i;
            showTable();
            remember();
          },
        },
        t.track,
      ),
    ),
  );
  board.replaceChildren(
    h(
      "section",
      { class: "card", "aria-label": table.title },
      h(
        "div",
        { class: "pad" },
        h(
          "h2",
          {},
          `Protocol ${table.protocol}, ${table.target} `,
          table.leaky
            ? h("span", { class: "chip bad", title: "A test section's patient may be in training" }, "LEAKY")
            : null,
          " ",
          table.simulated ? h("span", { class: "chip warn", title: "The data are simulated" }, "SIMULATED") : null,
        ),
        facts(table),
        table.mixed ? h("p", { class: "say" }, table.mixed + ".") : null,
        table.sentence ? h("p", { class: "say" }, table.sentence + ".") : null,
        DATA.note ? h("p", { class: "say" }, DATA.note) : null,
      ),
      h(
        "div",
        { class: "bar" },
        h("input", {
          type: "search",
          id: "filter",
          placeholder: "Filter rows  ( / )",
          "aria-label": "Filter rows",
          value: state.filter,
          oninput: (e) => {
            state.filter = e.target.value;
            grid.draw();
          },
        }),
        tables.length > 1 ? tracks : null,
        Object.keys(offered).length > 1 ? views : null,
        set,
        h("span", { class: "grow" }),
        kinds,
      ),
      scroll,
      strips,
    ),
    ...(gene ? [gene.node] : []),
    table.reported.length ? reportedCard(table.reported) : "",
  );
  return open;
}

const theme = document.getElementById("theme"),
  dark = matchMedia("(prefers-color-scheme: dark)");
function paintTheme(name) {
  document.documentElement.dataset.theme = name;
}
paintTheme(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => paintTheme(dark.matches ? "dark" : "light"));
theme.addEventListener("click", () => paintTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === "/" && !typing && !drawer.open) {
    event.preventDefault();
    const field = document.getElementById("filter");
    if (field) field.focus();
  }
});
document
  .getElementById("foot")
  .append(
    "Made by qbench from its stored records; the same records give the same page. PCC of a constant prediction or truth counts 0. Oracles see test counts and are never ranked.",
  );
// Print: in light colours whatever the screen has, and with what is folded up.
let before = null;
window.addEventListener("beforeprint", () => {
  const folded = [...document.querySelectorAll("details:not([open])")];
  before = [document.documentElement.dataset.theme, folded];
  paintTheme("light");
  folded.forEach((node) => (node.open = true));
});
window.addEventListener("afterprint", () => {
  if (before === null) return;
  paintTheme(before[0]);
  before[1].forEach((node) => (node.open = false));
  before = null;
});
if (location.hash.includes("protocol=")) recall();
else showTable();
