// Where a row's numbers come from: settings, weights, machine, cells and what failed.
function provenancePage(row) {
  const p = row.provenance,
    e = p.encoder,
    words = (o) =>
      o && Object.keys(o).length
        ? Object.entries(o)
            .map(([k, v]) => `${k} = ${typeof v === "object" && v !== null ? JSON.stringify(v) : v}`)
            .join("\n")
        : null;
  const failures = p.cells.filter((cell) => cell.failure);
  const short = (v) => (v ? h("code", { class: "mono", title: v }, v.slice(0, 12)) : ABSENT);
  return [
    failures.map((cell) =>
      h(
        "div",
        { class: "say" },
        h("b", {}, `Fold ${cell.fold}, seed ${cell.seed}: ${cell.failure.type}`),
        h("div", {}, cell.failure.message),
        cell.failure.traceback
          ? h("details", {}, h("summary", {}, "Traceback"), h("pre", {}, cell.failure.traceback))
          : null,
      ),
    ),
    h(
      "dl",
      {},
      pairs({
        method: `${row.name}, version ${p.version}, from ${p.origin}`,
        profile: p.profile,
        reads: p.context === "section" ? "the whole test section at once" : "each spot on its own",
        "changed settings": words(p.settings),
        encoder: e
          ? `${e.name} (${e.runtime}, ${e.dtype}, version ${e.version}${e.frozen ? ", frozen" : ", trained"})`
          : null,
        "encoder weights": e ? h("code", { class: "mono" }, e.weights) : null,
        patches: p.patches
          ? `${p.patches.size} px, ${p.patches.microns_per_pixel ? p.patches.microns_per_pixel + " µm/px" : "native"}`
          : null,
        selection: p.select,
        "epochs at most": p.max_epochs,
        "tuned by": p.tuned ? JSON.stringify(p.tuned) : null,
        warnings: p.warnings.join("; "),
        "markers not in the data": p.markers_missing.join(", "),
      }),
    ),
    words(p.parameters)
      ? h("details", {}, h("summary", {}, "All parameters"), h("pre", { class: "mono" }, words(p.parameters)))
      : null,
    p.environment
      ? h(
          "details",
          {},
          h("summary", {}, "Machine and packages (not part of the identity)"),
          h("pre", { class: "mono" }, words({ ...p.environment, packages: null, ...p.environment.packages })),
        )
      : null,
    h("h3", {}, "Cells"),
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
            [
              "fold",
              "seed",
              "status",
              "trained on",
              "validated on",
              "validation rule",
              "epoch kept",
              "codes (perplexity)",
              "cell",
              "data",
              "split",
              "panel",
              "predictions",
            ].map((t) => h("th", { class: "left" }, t)),
          ),
        ),
        h(
          "tbody",
          {},
          p.cells.map((c) =>
            h(
              "tr",
              {},
              [
                c.fold,
                c.seed,
                c.status,
                c.train.join(" "),
                c.validation.join(" "),
                c.rule,
                c.selected_epoch === null ? ABSENT : `${c.selected_epoch} of ${c.epochs}`,
                c.codebook ? `${c.codebook.used} (${number(c.codebook.perplexity, 0)})` : ABSENT,
                short(c.cell),
                short(c.hashes.data),
                short(c.hashes.split),
                short(c.hashes.panel),
                short(c.hashes.predictions),
              ].map((v) => h("td", { class: "left" }, v)),
            ),
          ),
        ),
      ),
    ),
  ]
    .flat()
    .filter(Boolean);
}
