"use strict";
const { runs, compared } = JSON.parse(document.getElementById("data").textContent);
const run = runs[0], other = runs[1];
const COLOURS = ["#2563c9", "#d9822b", "#1c7c4a", "#9447b8", "#b3372c", "#0f8b8d", "#7a6a2f", "#5c6675", "#c2477f", "#3b7dd8"];
const by = (id) => document.getElementById(id);
const number = (value, digits = 3) => value === null || value === undefined ? "none" : Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(digits);
const share = (value) => value === null || value === undefined ? "none" : (100 * value).toFixed(1) + "\u00a0%";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/* A table: columns are [title, value of a row, kind], kind "number", "code" or nothing. */
function table(target, rows, columns, opened) {
  const head = element("tr", {}, ...columns.map(([title, , kind]) => element("th", { class: kind === "number" ? "number" : undefined, scope: "col" }, title)));
  const body = element("tbody");
  const made = element("table", { class: columns.length > 3 ? "records" : undefined }, element("thead", {}, head), body);
  const add = (more) => more.forEach((row) => {
    const line = element("tr", opened ? { class: "row", tabindex: 0, "aria-expanded": "false" } : {}, ...columns.map(([title, value, kind, colour]) => {
      const shown = value(row);
      const content = kind === "code" ? element("code", {}, shown ?? "none") : String(shown ?? "");
      return element("td", { class: [kind === "number" ? "number" : "", colour ? colour(row) : ""].join(" ").trim() || undefined, "data-name": kind === "code" ? undefined : title }, content);
    }));
    if (opened) {
      const toggle = () => {
        const next = line.nextElementSibling;
        const open = next && next.classList.contains("detail");
        if (open) next.remove(); else line.after(element("tr", { class: "detail" }, element("td", { colspan: columns.length }, opened(row))));
        line.setAttribute("aria-expanded", String(!open));
      };
      line.addEventListener("click", toggle);
      line.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); } });
    }
    body.append(line);
  });
  add(rows);
  target.replaceChildren(rows.length ? made : element("p", { class: "note" }, "None."));
  return add;
}

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function plot(id, traces, { y = {}, legend = true } = {}) {
  const layout = {
    margin: { l: 46, r: 12, t: 8, b: 36 }, font: { family: "inherit", size: 12, color: ink("--ink") }, showlegend: legend && traces.length > 1,
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" }, hovermode: "x unified", paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: { title: { text: id === "distribution" ? "" : run.axis === "step" ? "step" : "hundredth of the log", standoff: 4 }, gridcolor: ink("--line"), automargin: true },
    yaxis: { gridcolor: ink("--line"), automargin: true, rangemode: "tozero", ...y }, barmode: "overlay",
  };
  Plotly.react(id, traces, layout, { responsive: true, displaylogo: false, displayModeBar: false });
}

const line = (x, y, name, colour, dash, more = {}) => ({ ...more, x, y, name, mode: x.length > 1 ? "lines" : "markers", line: { color: colour, width: 2, dash }, marker: { color: colour } });
/* The curves of the other run are dotted, and only the first run's are in the legend. */
const curve = (x, y, name, colour, at, more = {}) => line(x, y, at ? `${name} (${other.label})` : name, colour, at ? "dot" : undefined, { showlegend: !at, ...more });
const tint = (colour, alpha) => { const n = parseInt(colour.slice(1), 16); return `rgba(${n >> 16},${(n >> 8) & 255},${n & 255},${alpha})`; };

const asked = (curve) => ({ customdata: curve.asked.map((count, at) => `${number(count)} of ${number(curve.scored[at])}`), hovertemplate: "%{y:.3f}, asked in %{customdata}" });

function drawCurves() {
  const band = ({ x, low, high }, colour) => [
    { x, y: high, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false },
    { x, y: low, mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: tint(colour, 0.13), hoverinfo: "skip", showlegend: false },
  ];
  plot("reward", runs.flatMap((one, at) => [...band(one.curves.reward, COLOURS[at]), line(one.curves.reward.x, one.curves.reward.mean, one.label, COLOURS[at], at ? "dot" : undefined)]), { legend: Boolean(other), y: { rangemode: "normal" } });
  const names = Object.keys(run.curves).filter((name) => name !== "reward");
  plot("components", runs.flatMap((one, at) => names.filter((name) => one.curves[name]).map((name) => curve(one.curves[name].x, one.curves[name].mean, name, COLOURS[names.indexOf(name) % COLOURS.length], at, asked(one.curves[name])))));
  const parts = [["zero_variance", "all rewards equal"], ["all_match", "all match"], ["none_match", "none matches"]];
  plot("groups", runs.flatMap((one, at) => parts.map(([key, title], index) => curve(one.groups.x, one.groups[key], title, COLOURS[index], at))), { y: { range: [0, 1.02], tickformat: ".0%" } });
  const statuses = Object.keys(run.statuses).filter((name) => name !== "x");
  plot("statuses", statuses.map((name, index) => run.statuses.x.length > 1
    ? { x: run.statuses.x, y: run.statuses[name], name, mode: "lines", stackgroup: "all", line: { width: 0.5, color: name === "ok" ? "#1c7c4a" : COLOURS[(index + 3) % COLOURS.length] } }
    : { x: run.statuses.x, y: run.statuses[name], name, type: "bar" }), { y: { range: [0, 1], tickformat: ".0%" } });
}

function drawDistribution(name) {
  const bars = runs.filter((one) => one.distributions[name]).map((one, at) => {
    const { edges, counts } = one.distributions[name], sum = counts.reduce((a, b) => a + b, 0) || 1;
    return { x: counts.map((_, i) => (edges[i] + edges[i + 1]) / 2), y: counts.map((n) => n / sum), width: counts.map((_, i) => edges[i + 1] - edges[i]), type: "bar", name: one.label, opacity: other ? 0.6 : 1, marker: { color: COLOURS[at] }, customdata: counts, hovertemplate: "%{y:.1%} (%{customdata:,})<extra></extra>" };
  });
  plot("distribution", bars, { y: { tickformat: ".0%" }, legend: Boolean(other) });
}

function drawTotals() {
  const cells = [
    ["samples", (one) => number(one.totals.samples)], ["mean reward", (one) => number(one.totals.mean)],
    [run.totals.match ? "match" : "at the top", (one) => share(one.totals.matches)],
    ["not scored", (one) => share(1 - one.totals.scored / one.totals.samples)],
    ["zero-variance groups", (one) => share(weighted(one.groups.zero_variance, one.groups.groups))],
    ...(runs.every((one) => one.totals.steps) ? [["steps", (one) => number(one.totals.steps)]] : []),
  ];
  by("totals").append(...cells.map(([title, value]) => element("div", { class: "total" }, element("b", {}, value(run), other ? element("span", { class: "other" }, `against ${value(other)}`) : null), element("span", {}, title))));
}
function weighted(values, counts) { const sum = counts.reduce((a, b) => a + b, 0); return sum ? values.reduce((total, value, at) => total + value * counts[at], 0) / sum : null; }

/* What matched is told from what was merely paid. */
const tone = (row) => row.value === null ? "none" : row.matched === 1 ? "good" : "bad";
function rowsOf(text) {
  const found = text ? JSON.parse(text) : {};
  const side = (name) => element("div", {}, element("h3", {}, `rows of the ${name} result`), found[name].length ? element("table", {}, ...found[name].map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, element("code", {}, String(cell))))))) : element("p", { class: "note" }, "none"));
  return found.predicted && found.gold ? element("div", { class: "sides" }, side("predicted"), side("gold")) : null;
}
function detail(row) {
  const parts = [["question", row.question], ["predicted", row.predicted], ["gold", row.gold], ["score", row.explanation], ["completion", row.completion]];
  return element("div", {}, ...parts.filter(([, text]) => text).flatMap(([title, text]) => [element("h3", {}, title), element("pre", {}, text)]), rowsOf(row.rows));
}

function completions() {
  const PAGE = 50;
  let found = [], shown = 0, add = () => {};
  const columns = [["step", (row) => row.step, "number"], ["value", (row) => number(row.value), "number", tone], ["status", (row) => row.status], ["db", (row) => row.db], ["question", (row) => row.question], ["predicted", (row) => row.predicted, "code"], ["reason", (row) => row.reason]];
  for (const id of ["status", "db"]) by(id).append(...[...new Set(run.samples.map((row) => row[id]))].sort().map((name) => element("option", { value: name }, name)));
  const more = () => { add(found.slice(shown, shown + PAGE)); shown = Math.min(found.length, shown + PAGE); said(); };
  const said = () => { by("shown").textContent = `${shown} of ${found.length} shown`; by("more").hidden = shown >= found.length; };
  const filter = () => {
    const text = by("text").value.trim().toLowerCase(), status = by("status").value, db = by("db").value;
    const low = by("low").value === "" ? null : Number(by("low").value), high = by("high").value === "" ? null : Number(by("high").value);
    found = run.samples.filter((row) => (!status || row.status === status) && (!db || row.db === db)
      && (low === null || (row.value !== null && row.value >= low)) && (high === null || (row.value !== null && row.value <= high))
      && (!text || [row.question, row.predicted, row.gold, row.reason, row.completion].some((one) => one && one.toLowerCase().includes(text))));
    shown = Math.min(PAGE, found.length);
    add = table(by("samples"), found.slice(0, shown), columns, detail);
    said();
  };
  by("filters").addEventListener("input", filter);
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("more").addEventListener("click", more);
  by("samples-note").textContent = `${run.samples.length} of ${number(run.totals.samples)} samples, the same number of each status, right and wrong, as far as there are so many. Choose a row to see why it scored as it did.`;
  filter();
}

by("subtitle").textContent = runs.map((one, at) => `${one.label}${at ? " (dotted)" : ""}: ${number(one.totals.samples)} samples${one.totals.first ? `, ${new Date(1000 * one.totals.first).toISOString().slice(0, 16).replace("T", " ")} to ${new Date(1000 * one.totals.last).toISOString().slice(0, 16).replace("T", " ")} UTC` : ""}${one.totals.unreadable ? `, ${one.totals.unreadable} unreadable lines left out` : ""}`).join(" · ");
const warnings = runs.filter((one) => one.signatures.length > 1).map((one) => `${one.label} holds scores of ${one.signatures.length} signatures.`);
if (other && compared.signature.length) warnings.push(`The two runs were not scored alike: ${compared.signature.join("; ")}.`);
by("warning").hidden = !warnings.length;
by("warning").textContent = warnings.join(" ");
drawTotals();
drawCurves();
by("which").append(...Object.keys(run.distributions).filter((name) => run.distributions[name].counts.length).map((name) => element("option", { value: name }, name)));
by("which").addEventListener("change", () => drawDistribution(by("which").value));
drawDistribution("reward");
const looked = ({ samples, of }, what) => samples === of ? `Counted in all ${number(of)} samples that ${what}` : `Counted in ${number(samples)} of the ${number(of)} samples that ${what}, those of the most frequent statements`;
by("causes-note").textContent = `${looked(run.causes, "did not match")}. Each has one main cause, and may have others.`;
table(by("causes"), run.causes.counts, [["cause", (row) => row.cause.replaceAll("_", " ")], ["main cause", (row) => number(row.main), "number"], ["in", (row) => number(row.in), "number"]]);
by("operations-note").textContent = `${looked(run.operations, "ran and did not match")}${run.operations.unread ? `; ${run.operations.unread} could not be read` : ""}.`;
table(by("kinds"), run.operations.kinds, [["kind", (row) => row.kind], ["missing", (row) => number(row.missing), "number"], ["extra", (row) => number(row.extra), "number"]]);
for (const side of ["missing", "extra"]) table(by(side), run.operations[side], [[side, (row) => row.operation, "code"], ["samples", (row) => number(row.samples), "number"]]);
table(by("databases"), run.databases.slice(0, 25), [["database", (row) => row.db], ["samples", (row) => number(row.samples), "number"], ["mean", (row) => number(row.mean), "number"], ["match", (row) => share(row.matches), "number"], ["not scored", (row) => share(row.unscored), "number"]]);
table(by("slowest"), run.slowest, [["seconds", (row) => number(row.seconds), "number"], ["times", (row) => number(row.times), "number"], ["status", (row) => row.status], ["db", (row) => row.db], ["predicted", (row) => row.predicted, "code"]]);
by("stopped").hidden = !run.timeouts.length;
table(by("timeouts"), run.timeouts, [["timeouts", (row) => number(row.timeouts), "number"], ["statements", (row) => number(row.statements), "number"], ["db", (row) => row.db], ["question", (row) => row.question]]);
if (other) {
  by("compared").hidden = false;
  table(by("questions"), compared.questions, [["change", (row) => (row.change > 0 ? "+" : "") + number(row.change), "number", (row) => row.change > 0 ? "good" : "bad"], [other.label, (row) => number(row.before), "number"], [run.label, (row) => number(row.after), "number"], ["db", (row) => row.db], ["question", (row) => row.question || row.gold]]);
}
completions();
by("signatures").append(...runs.flatMap((one) => one.signatures.map((signature) => element("details", {}, element("summary", {}, `${one.label}: sha256 ${signature.digest}, ${number(signature.samples)} samples`), element("pre", {}, signature.content ? JSON.stringify(signature.content, null, 2) : "its content is not in the log")))));
