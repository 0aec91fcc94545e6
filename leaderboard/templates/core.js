"use strict";
// Helpers: elements are made with text nodes only, so no name of a gene, method or file can become markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const NAMES = { pcc_mg: "PCC MG", pcc_hvg: "PCC HVG", pcc_heg: "PCC HEG", pcc_all: "PCC all", mse: "MSE", hest: "HEST" };
const SETS = {
  headline: "Headline",
  unrounded: "Unrounded",
  depth_adjusted: "Depth-adjusted",
  pooled: "Spots of a patient pooled",
  test_chosen: "Genes chosen on test",
  hest: "HEST-bench's own",
  cost: "Size and cost",
};
const ABSENT = "–";
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}
function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return ABSENT;
  if (Math.abs(value) >= 100) return Math.abs(value) < 1e6 ? value.toFixed(0) : value.toExponential(2);
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text;
}
function signed(value) {
  return value === null || value === undefined ? ABSENT : (value >= 0 ? "+" : "−") + number(Math.abs(value));
}
function lowerIsBetter(figure) {
  return figure.startsWith("mse");
}
function label(figure) {
  return NAMES[stem(figure)] || figure;
}
function stem(figure) {
  return Object.keys(NAMES).find((name) => figure === name || figure.startsWith(name + "_")) || figure;
}
function mean(row, figure) {
  const found = row.figures[figure];
  return found ? found[0] : null;
}

function bytes(text) {
  const raw = atob(text),
    out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}
// Thousandths as int16; -32768 is "none".
function thousandths(text) {
  const raw = bytes(text),
    view = new DataView(raw.buffer),
    out = new Array(raw.length / 2);
  for (let i = 0; i < out.length; i++) {
    const v = view.getInt16(2 * i, true);
    out[i] = v === -32768 ? null : v / 1000;
  }
  return out;
}
function once(make) {
  const kept = new Map();
  return (key) => {
    if (!kept.has(key)) kept.set(key, make(key));
    return kept.get(key);
  };
}
const geneValues = once((row) => (row.genes ? thousandths(row.genes) : []));
const geneCeilings = once((table) => (table.gene_ceiling ? thousandths(table.gene_ceiling) : []));

// Tabs with the keyboard of the ARIA pattern: arrows, Home and End move, and the focused tab is the shown one.
function tablist(node, items, shown, show) {
  const tabs = items.map((item, i) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        "aria-selected": String(i === shown),
        tabindex: i === shown ? 0 : -1,
        onclick: () => show(i),
        onkeydown: (event) => {
          const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: items.length - 1 }[event.key];
          if (to === undefined) return;
          event.preventDefault();
          const next = (to + items.length) % items.length;
          show(next);
          node.querySelectorAll("[role=tab]")[next].focus();
        },
      },
      item,
    ),
  );
  node.replaceChildren(...tabs);
  if (tabs.length) node.scrollLeft = tabs[shown].offsetLeft - node.offsetLeft - 24; // where a phone shows few at a time
  return node;
}
function segments(name, options, chosen, choose) {
  const buttons = Object.entries(options).map(([key, text]) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(key === chosen),
        onclick: () => {
          buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.key === key)));
          choose(key);
        },
        "data-key": key,
      },
      text,
    ),
  );
  return h("span", { class: "seg", role: "group", "aria-label": name }, buttons);
}

// A line of any view that opens its row, by a click or the keyboard.
function openable(row, open) {
  return {
    tabindex: 0,
    class: row.failed ? "failed" : row.rank === null ? "quiet" : "",
    "data-key": row.key,
    "aria-label": `${row.title}, open details`,
    onclick: () => open(row),
    onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open(row);
    },
  };
}

// What a table is of: a transfer learns from one dataset and is tested on another.
function datasets(table) {
  return table.learned === table.dataset ? table.dataset : `${table.learned} → ${table.dataset}`;
}
