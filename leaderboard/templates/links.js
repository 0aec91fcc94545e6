// Where a reader is, as the page's address: protocol, track and view, the opened row with its page, the gene and its section.
const opened = { key: null, page: 0 };
let recalling = false;

function address() {
  const parts = new URLSearchParams(),
    table = shownTable(),
    state = stateOf(table),
    gene = geneStateOf(table);
  parts.set("protocol", table.hash.slice(0, 12));
  parts.set("track", table.track);
  if (state.view !== "rows") parts.set("view", state.view);
  if (opened.key !== null) {
    parts.set("row", opened.key);
    if (opened.page) parts.set("page", PAGES[opened.page].toLowerCase());
  }
  if (gene.gene !== undefined && gene.gene !== firstGene(table)) parts.set("gene", gene.gene);
  if (gene.section !== undefined && gene.section !== firstSection(table)) parts.set("section", gene.section);
  return `#${parts}`;
}

// After whatever a reader chose: the back button undoes it.
function remember() {
  if (recalling || !protocols.length || address() === location.hash) return;
  history.pushState(null, "", address());
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1)),
    named = (name) => parts.get(name) || "";
  if (!protocols.length || (location.hash && !parts.has("protocol"))) return; // an anchor within the page
  recalling = true;
  opened.key = null;
  drawer.close();
  const at = protocols.findIndex((p) => named("protocol") && p.hash.startsWith(named("protocol")));
  shown.protocol = Math.max(0, at);
  shown.track = Math.max(0, protocols[shown.protocol].tables.findIndex((t) => t.track === named("track")));
  const table = shownTable(),
    gene = geneStateOf(table),
    row = table.rows.find((r) => r.key === named("row")),
    known = table.genes.includes(named("gene"));
  stateOf(table).view = named("view") in viewsOf(table) ? named("view") : "rows";
  gene.gene = known ? named("gene") : firstGene(table);
  gene.section = sectionsOf(table).includes(named("section")) ? named("section") : firstSection(table);
  const open = showTable();
  if (row) open(row, Math.max(0, PAGES.findIndex((page) => page.toLowerCase() === named("page"))));
  else if (known) document.getElementById("gene-card").scrollIntoView();
  const missing = [
    parts.has("protocol") && at < 0 ? "protocol" : null,
    parts.has("row") && !row ? "row" : null,
    parts.has("gene") && !known ? "gene" : null,
  ].filter(Boolean);
  if (missing.length)
    board.prepend(
      h("p", { class: "say", role: "status" }, `The link names a ${missing.join(" and a ")} that this page does not hold.`),
    );
  recalling = false;
}
window.addEventListener("popstate", recall);

const shownTable = () => protocols[shown.protocol].tables[shown.track];
const sectionsOf = (table) => (table.maps ? Object.keys(table.maps.sections) : []);
const firstSection = (table) => sectionsOf(table)[0];
const geneStateOf = once((table) => ({
  gene: firstGene(table),
  section: firstSection(table),
  scale: "shared",
  colours: "viridis",
  tissue: 0.75,
}));
