// SPDX-License-Identifier: Apache-2.0
// The page: draws what the model has, and lets people pick a step with mouse, finger or keys.
"use strict";

const COLORS = ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];
const DASH = [7, 4], DOT = [2, 3];
const picked = {step: null, follows: true, wanted: null};
let chosen = null;  // names of the tensors that are shown

const accuracyChart = new Chart("c-accuracy", {title: "Accuracy", format: (y) => percent(y, 1)});
const lossChart = new Chart("c-loss", {title: "Loss", log: true, value: brief, format: power, floor: 1e-6});
const changeChart = new Chart("c-change", {title: "Relative change of each tensor", log: true, value: share, format: powerShare, floor: 1e-8});
const multiplierChart = new Chart("c-multiplier", {title: "Multipliers", log: true, value: brief, format: power});
const rateChart = new Chart("c-rate", {title: "Examples a second", zero: true, format: (y) => count(Math.round(y))});
const metricCharts = new Map();

const shownTensors = () => model.job.tensors.filter((tensor) => tensor.line >= 0 && chosen.has(tensor.name));
const colorOf = (tensor) => COLORS[shownTensors().indexOf(tensor) % COLORS.length];

// Buttons that show and hide tensors: at first the matrices, a few of them spread over the network.
const makeChips = () => {
  const all = model.job.tensors.filter((tensor) => tensor.line >= 0);
  const matrices = all.filter((tensor) => tensor.matrix), first = matrices.length ? matrices : all;
  const every = Math.max(1, (first.length - 1) / 6);
  chosen = new Set(first.length <= 7 ? first.map((t) => t.name) : Array.from({length: 7}, (_, i) => first[Math.round(i * every)].name));
  const box = $("tensors");
  box.replaceChildren(...all.map((tensor) => {
    const button = element("button", {type: "button", "aria-pressed": chosen.has(tensor.name)}, element("i", {class: "line"}), tensor.name);
    button.addEventListener("click", () => {
      if (chosen.has(tensor.name)) chosen.delete(tensor.name); else chosen.add(tensor.name);
      draw();
    });
    button.dataset.name = tensor.name;
    return button;
  }));
  for (const [text, names] of [["all", all], ["matrices", matrices], ["none", []]]) {
    const button = element("button", {type: "button"}, text);
    button.addEventListener("click", () => { chosen = new Set(names.map((t) => t.name)); draw(); });
    box.append(button);
  }
};

const drawCurves = () => {
  const training = tableOf("training"), evaluations = tableOf("evaluations");
  const accuracy = [
    {name: "training", color: "--c4", thin: true, points: columnPoints(training, 1)},
    {name: "test", color: "--c0", dash: DASH, points: columnPoints(evaluations, 1)},
    {name: "other run, test", color: "--c3", dash: DOT, points: overlay.test}];
  accuracyChart.show(accuracy);
  legend("l-accuracy", accuracy);
  const loss = [
    {name: "training", color: "--c1", thin: true, points: columnPoints(training, 0, true)},
    {name: "test", color: "--c0", dash: DASH, points: columnPoints(evaluations, 0, true)},
    {name: "other run, training", color: "--c3", dash: DOT, points: overlay.loss.filter((p) => p[1] > 0)}];
  lossChart.show(loss);
  legend("l-loss", loss);
  const seconds = (training ? training.rows : []).filter((row) => row[4] !== null).map((row) => [row[1], extreme(row[4], true)]);
  const rate = [
    {name: "this run", color: "--c2", points: rates(seconds)},
    {name: "other run", color: "--c3", dash: DOT, points: overlay.rate}];
  rateChart.show(rate);
  legend("l-rate", overlay.name ? rate : []);
  const names = [...new Set([training, evaluations].flatMap((table) => table ? table.names.slice(3) : []))];
  for (const name of names) {
    if (!metricCharts.has(name)) {
      const id = "c-metric-" + metricCharts.size;
      $("metrics").append(element("section", {class: "card"}, element("h2", {class: "wrap"}, name),
        element("p", {class: "soft small"}, "as the workers report it, mean over a step's batches or the test set"),
        element("div", {class: "legend", id: "l" + id}), element("div", {class: "chart", id})));
      metricCharts.set(name, {id, chart: new Chart(id, {title: name})});
    }
    const {id, chart} = metricCharts.get(name);
    const column = (table) => table ? table.names.indexOf(name) : -1;
    const points = (table) => column(table) < 0 ? [] : columnPoints(table, column(table));
    const series = [{name: "training", color: "--c1", points: points(training)}, {name: "test", color: "--c0", dash: DASH, points: points(evaluations)}];
    chart.show(series);
    legend("l" + id, series);
  }
};

const drawLayers = () => {
  const updates = tableOf("updates"), shown = shownTensors();
  changeChart.show([
    ...shown.map((t) => ({name: `${t.name} with plain SGD`, color: colorOf(t), dash: DASH, thin: true, points: columnPoints(updates, 3 * t.line + 1, true)})),
    ...shown.map((t) => ({name: t.name, color: colorOf(t), points: columnPoints(updates, 3 * t.line, true)})),
    ...shown.map((t) => ({name: `${t.name} in the other run`, color: colorOf(t), dash: DOT, points: (overlay.change.get(t.name) || []).filter((p) => p[1] > 0)})),
  ]);
  multiplierChart.show([
    ...shown.map((t) => ({name: t.name, color: colorOf(t), points: columnPoints(updates, 3 * t.line + 2, true)})),
    ...shown.map((t) => ({name: `${t.name} in the other run`, color: colorOf(t), dash: DOT, points: (overlay.multiplier.get(t.name) || []).filter((p) => p[1] > 0)})),
  ]);
  for (const button of $("tensors").children) {
    const tensor = model.job.tensors.find((t) => t.name === button.dataset.name);
    if (!tensor) continue;
    button.setAttribute("aria-pressed", chosen.has(tensor.name));
    button.firstChild.style.borderColor = chosen.has(tensor.name) ? `var(${colorOf(tensor)})` : "var(--bar)";
  }
};

// The numbers of a step as the tables have them, where the exact ones are not at hand.
const approximateStep = (step) => {
  const row = rowAt(tableOf("updates"), step);
  if (!row) return null;
  const middle = (cell) => Array.isArray(cell) ? Math.sqrt(Math.max(0, cell[0]) * Math.max(0, cell[1])) : cell;
  return {step, first: row[0], last: row[1], updates: model.job.tensors.filter((t) => t.line >= 0).map((t) => ({
    tensor: t.name, entries: t.entries, relative_delta: middle(row[2 + 3 * t.line] ?? null),
    sgd_relative_delta: middle(row[3 + 3 * t.line] ?? null), multiplier: middle(row[4 + 3 * t.line] ?? null)}))};
};

const showStep = (step, exact) => {
  const shown = exact && exact.updates.length ? exact : approximateStep(step);
  $("figure-step").textContent = step === null ? "–" : count(step);
  $("figure-note").textContent = "Relative change by tensor, log axis" + (shown && shown.first !== undefined && shown.last > shown.first ?
    `; the exact numbers of this step are not retained: the middle of those of the steps ${shown.first} to ${shown.last}.` : ".");
  figure(shown ? shown.updates : []);
  numbers(shown ? shown.updates : []);
  const parts = [];
  const point = (name, value) => { if (value) parts.push(`${name} loss ${brief(value.loss)}, accuracy ${percent(value.accuracy)}`); };
  const of = (table) => { const row = rowAt(table, step); return row && row[0] <= step && step <= row[1] && row[0] === row[1] ? {loss: row[2], accuracy: row[3]} : null; };
  point("training", exact && exact.training || of(tableOf("training")));
  point("test", exact && exact.evaluation || of(tableOf("evaluations")));
  const near = model.events.filter((event) => event.step === step && event.kind !== "worker").map((event) => event.text);
  $("picked-values").textContent = [...parts, ...near].join(" · ") || "\u00a0";
  $("picked-values").title = $("picked-values").textContent;
};

// Picks a step: everything on the page shows it. `how`: "latest" follows the training.
const pick = (step, how) => {
  const newest = newestStep();
  step = Math.max(0, Math.min(step, newest));
  if (newest < 0) return;
  picked.follows = how === "latest";
  $("latest").setAttribute("aria-pressed", picked.follows);
  if (step === picked.step && how !== "again") return;
  picked.step = step;
  $("picked").textContent = count(step);
  $("picker").value = step;
  $("picker").setAttribute("aria-valuetext", "step " + step);
  placeCursors();
  // While the step moves on, its numbers are asked for now and then.
  if (!picked.timer) picked.timer = setTimeout(async () => {
    const asked = picked.step;
    let exact = null;
    try { exact = await loadStep(asked); } catch (error) { /* away: what the tables have */ }
    picked.timer = 0;
    if (picked.step === asked || picked.follows) showStep(asked, exact);
    else pick(picked.step, picked.follows ? "latest" : "again");
  }, 60);
};

const makeQuick = () => {
  const box = $("quick");
  for (const step of [0, 15, 30, 45]) {
    const button = element("button", {type: "button", title: "a step of the paper's figure", "aria-label": "Step " + step}, String(step));
    button.addEventListener("click", () => pick(step, "button"));
    box.append(button);
  }
  const latest = element("button", {type: "button", id: "latest", "aria-pressed": true}, "latest");
  latest.addEventListener("click", () => pick(latestStep(), "latest"));
  box.append(latest);
  $("picker").addEventListener("input", (event) => pick(Number(event.target.value), "slider"));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || picked.step === null) return;
    const scrolls = event.target.closest && event.target.closest("[tabindex='0']");
    if (scrolls && scrolls.scrollWidth > scrolls.clientWidth) return;
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (by) { pick(picked.step + by * (event.shiftKey ? 10 : 1), "key"); event.preventDefault(); }
  });
};

// Once an animation frame, and not more than twice a second: messages come more often.
let drawing = 0, drawn = 0;
const draw = () => {
  if (drawing || !model.job || !model.status) return;
  drawing = setTimeout(() => requestAnimationFrame(() => {
    drawing = 0;
    drawn = Date.now();
    drawNow();
  }), Math.max(0, Math.min(500, drawn + 500 - Date.now())));
};
const drawNow = () => {
  if (!chosen) makeChips();
  refine(sharedZoom.range, draw);
  heading();
  tiles();
  drawCurves();
  drawLayers();
  if (model.activity) { shardRows(); workerRows(); }
  eventRows();
  legend("l-figure", [{name: model.job.rule, color: "--c0", points: [0]}, {name: "plain SGD", color: "--bar", points: [0]}]);
  const newest = newestStep();
  $("picker").max = Math.max(0, newest);
  if (newest >= 0 && (picked.follows || picked.step === null)) pick(latestStep(), "latest");
};

const takeFiles = async (list) => {
  const notes = [];
  for (const file of list) notes.push(layOver(file.name, await file.text()) || `${file.name} is laid under this run, as dotted lines`);
  $("over-note").textContent = notes.join("; ");
  $("clear").hidden = !overlay.name;
  draw();
};
const makeOverlay = () => {
  $("files").addEventListener("change", (event) => takeFiles(event.target.files));
  $("clear").addEventListener("click", () => { clearOverlay(); $("over-note").textContent = ""; $("clear").hidden = true; $("files").value = ""; draw(); });
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  addEventListener("drop", (event) => { event.preventDefault(); document.body.classList.remove("dropping"); takeFiles(event.dataTransfer.files); });
};

const showFixed = () => {
  $("job").textContent = model.job.text;
  if (model.job.any_arithmetic) $("promise").textContent = `Not to the same bits: ${model.job.any_arithmetic}.`;
  $("cluster").hidden = !model.activity;
  $("events-card").hidden = !!frozen && !model.events.length;
  if (!model.report) return;
  $("command").hidden = !model.report.command;
  $("command").textContent = model.report.command;
  $("sha-line").hidden = !model.report.sha256;
  $("sha").textContent = model.report.sha256;
};

makeQuick();
makeOverlay();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("resize", () => { for (const chart of charts) if (chart.graph) chart.graph.resize(); if (picked.step !== null) pick(picked.step, picked.follows ? "latest" : "again"); placeCursors(); });
if (frozen) {
  applyState(frozen);
  showFixed();
  draw();
} else {
  connect(() => { showFixed(); draw(); }, (text) => {
    if ($("connection").textContent !== text) $("connection").textContent = text;
    $("state").classList.toggle("away", text !== "");
  });
}
