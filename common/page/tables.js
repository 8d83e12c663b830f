// SPDX-License-Identifier: Apache-2.0
// The parts of the page that are text: tiles, tables, events, and the figure of a step.
"use strict";

const clock = (s) => !Number.isFinite(s) ? "–" : s >= 3600 ? `${Math.floor(s / 3600)}:${String(Math.floor(s % 3600 / 60)).padStart(2, "0")} h` :
  s >= 90 ? `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")} min` : s >= 10 ? Math.round(s) + " s" : s.toFixed(1) + " s";
const bytes = (b) => b >= 2 ** 30 ? (b / 2 ** 30).toFixed(2) + " GiB" : b >= 2 ** 20 ? (b / 2 ** 20).toFixed(1) + " MiB" : Math.round(b / 1024) + " KiB";
const count = (n) => n.toLocaleString("en");

const element = (name, attributes = {}, ...children) => {
  const svg = ["svg", "g", "line", "text", "rect", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== null) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

// Replaces the rows of a table. columns: [heading, is text]; rows: {cells, bad}: the first is a heading.
const fillTable = (id, caption, columns, rows) => {
  const key = JSON.stringify([columns, rows]);
  const table = $(id);
  if (table.dataset.key === key) return;
  table.dataset.key = key;
  const head = element("tr", {}, ...columns.map(([title, text]) => element("th", {scope: "col", class: text ? "text" : null}, title)));
  const body = rows.map(({cells, bad}) => element("tr", {class: bad ? "bad" : null}, ...cells.map((cell, i) =>
    i ? element("td", {class: columns[i][1] || null}, cell) : element("th", {scope: "row", class: columns[i][1] || null}, cell))));
  table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
  table.setAttribute("aria-label", caption);
};

const tiles = () => {
  const {status, job} = model;
  const training = model.charts.training, evaluations = model.charts.evaluations;
  const lastRow = (table) => table && table.rows.length ? table.rows[table.rows.length - 1] : null;
  const final = lastRow(evaluations), last = lastRow(training);
  const latest = (cell) => Array.isArray(cell) ? cell[1] : cell;
  const seconds = last ? extreme(last[4], true) : 0;
  const list = [
    ["t-step", count(status.step), `of ${count(status.max_steps)} steps`, status.max_steps ? status.step / status.max_steps : 0],
    ["t-acc", final ? percent(latest(final[3])) : "–", final ? `test accuracy at step ${final[1]}` : "test accuracy"],
    ["t-lo", last ? brief(latest(last[2])) : "–", "training loss"],
    ["t-ra", status.rate ? count(Math.round(status.rate)) : "–", "examples a second"],
    ["t-ti", clock(seconds), status.state === "training" && status.time_left > 0 ? `so far, ${clock(status.time_left)} left` : "of training"],
  ];
  if (model.report) {
    list.push(["t-sha", (model.report.sha256 || "").slice(0, 8), "weights SHA-256" + (job.any_arithmetic ? ", not reproducible: see below" : "")]);
  } else {
    list.push(["t-wo", status.worker_count, `worker${status.worker_count === 1 ? "" : "s"}, ${status.shard_count} shard${status.shard_count === 1 ? "" : "s"}`]);
    const checkpoint = status.checkpoint;
    list.push(["t-ch", checkpoint ? checkpoint.step < 0 ? "none yet" : count(checkpoint.step) : "none",
      checkpoint ? "newest checkpoint" + (checkpoint.under_way ? ", one under way" : "") + (checkpoint.error ? ": the last failed" : "") : "checkpoints in this job"]);
    const wrong = status.expired + status.failed;
    list.push(["t-le", count(wrong), `leases expired or failed; ${status.speculative} given twice, ${status.duplicates} duplicates`]);
  }
  const box = $("tiles");
  for (const [id, value, text, done] of list) {
    let tile = $(id);
    if (!tile) {
      tile = element("div", {class: "tile", id}, element("b"), element("span"));
      if (done !== undefined) tile.append(element("progress", {max: 1, "aria-label": "Steps that are done"}));
      box.append(tile);
    }
    tile.children[0].textContent = value;
    tile.children[1].textContent = text;
    if (done !== undefined) tile.children[2].value = done;
  }
};

const heading = () => {
  const {status, job} = model;
  document.title = `${job.name} · ${status.state}`;
  $("name").textContent = job.name;
  $("state").textContent = status.state;
  $("state").className = "state " + status.state;
  $("about").textContent = `${job.rule} · batch ${job.batch}${job.slots > 1 ? ` × ${job.slots} a step` : ""} · ` +
    `${status.shard_count} shard${status.shard_count === 1 ? "" : "s"} · ${job.tensors.length} tensors` + (model.report ? " · report" : ` · generation ${status.generation}`);
  $("message").textContent = status.message;
  $("message").className = "message " + status.state;
};

const shardRows = () => {
  const {shards, time} = model.activity, before = model.before;
  fillTable("shards", "Shards",
    [["shard", "text"], ["address", "text"], ["state", "text"], ["at step"], ["cores busy"], ["memory"], ["received"], ["sent"], ["shared memory"]],
    shards.map((shard, i) => {
      const load = shard.load, earlier = before && before.shards[i] && before.shards[i].load;
      const seconds = earlier ? time - before.time : 0;
      const busy = load && earlier && seconds > 0 && load.cpu >= earlier.cpu ? ((load.cpu - earlier.cpu) / seconds).toFixed(1) : "–";
      const state = !shard.address ? "missing" : shard.silent > 5 ? `silent for ${clock(shard.silent)}` : shard.problem || (shard.entered ? "ready" : "joining");
      return {bad: state !== "ready", cells: [i, shard.address || "–", state, count(shard.gathered), busy,
        load ? bytes(load.memory) : "–", load ? bytes(load.received) : "–", load ? bytes(load.sent) : "–", load ? bytes(load.shared) : "–"]};
    }));
  $("shards-note").textContent = "Cores and memory are of each shard's process; values that it has exchanged since its start.";
};

const workerRows = () => {
  const {workers, workers_not_listed: more} = model.activity;
  fillTable("workers", "Workers",
    [["worker", "text"], ["works on", "text"], ["since"], ["examples/s"], ["pull"], ["compute"], ["push"], ["leases"], ["by", "text"], ["called"]],
    workers.map((worker) => {
      const lease = worker.lease, times = worker.times;
      const work = worker.suspended ? worker.suspended.slice(0, 80) : !lease ? "waits" :
        (lease.kind === "train" ? `step ${lease.step} slot ${lease.slot}` : `evaluates step ${lease.step}`) + (lease.expired ? ", expired" : "");
      const ms = (s) => times ? s >= 1 ? s.toFixed(1) + " s" : Math.round(1000 * s) + " ms" : "–";
      return {bad: !!worker.suspended || !!(lease && lease.expired), cells: [worker.name, work, lease ? clock(lease.held) : "–",
        worker.rate ? count(Math.round(worker.rate)) : "–", ms(times && times[0]), ms(times && times[1]), ms(times && times[2]),
        count(worker.leases), worker.transport || "–", worker.silent < 1.5 ? "now" : clock(worker.silent) + " ago"]};
    }));
  const suspended = workers.filter((worker) => worker.suspended).length;
  $("workers-note").textContent = `${count(workers.length + more)} workers` + (more ? `, of which ${workers.length} are listed` : "") +
    (suspended ? `; ${suspended} suspended` : "") + ". Times are of the last training lease.";
};

const eventRows = () => {
  fillTable("events", "Events, the newest first", [["when", "text"], ["step"], ["kind", "text"], ["what", "text long"]],
    model.events.slice(-200).reverse().map((event) => ({bad: event.kind === "fault" || event.kind === "checkpoint-failed",
      cells: [new Date(event.time).toLocaleTimeString(), count(event.step), `${MARKS[event.kind] ? MARKS[event.kind].glyph : "○"} ${event.kind}`, event.text]})));
};

// The paper's Figure 1: two bars for each tensor, on a log axis. updates: [{tensor, relative_delta,
// sgd_relative_delta}].
const figure = (updates) => {
  const box = $("figure");
  const matrices = new Set(model.job.tensors.filter((tensor) => tensor.matrix).map((tensor) => tensor.name));
  const bars = updates.filter((u) => matrices.has(u.tensor) || !matrices.size);
  const values = bars.flatMap((u) => [u.relative_delta, u.sgd_relative_delta]).filter((v) => v > 0).map(Math.log10);
  if (!values.length) { box.replaceChildren(element("p", {class: "soft"}, "No numbers of this step.")); return; }
  const low = Math.min(-4, Math.floor(Math.min(...values))), high = Math.max(0, Math.ceil(Math.max(...values)));
  const left = 46, top = 8, bottom = bars.length > 8 ? 96 : 30, height = 220 + bottom;
  const group = Math.max(34, Math.min(150, (box.clientWidth - left - 8) / bars.length)), width = left + group * bars.length + 4;
  const Y = (v) => top + (high - Math.max(low, Math.log10(v))) / (high - low) * (height - top - bottom);
  const svg = element("svg", {width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label":
    bars.slice(0, 60).map((u) => `${u.tensor}: ${share(u.relative_delta)} with the rule, ${share(u.sgd_relative_delta)} with plain SGD`).join("; ")});
  for (let e = low; e <= high; e += Math.max(1, Math.ceil((high - low) / 8))) {
    svg.append(element("line", {class: "grid", x1: left, x2: width, y1: Y(10 ** e), y2: Y(10 ** e)}),
      element("text", {x: left - 6, y: Y(10 ** e) + 4, "text-anchor": "end"}, superscript(e)));
  }
  bars.forEach((u, i) => {
    const x = left + i * group, bar = Math.min(44, group * .36), base = height - bottom;
    [[u.relative_delta, "rule-bar", model.job.rule], [u.sgd_relative_delta, "sgd-bar", "plain SGD"]].forEach(([v, kind, who], k) => {
      if (!(v > 0)) return;
      const rect = element("rect", {class: kind, x: x + group / 2 + (k ? 1 : -1 - bar), width: bar, y: Y(v), height: Math.max(1, base - Y(v)), rx: 2});
      rect.append(element("title", {}, `${u.tensor}: ${share(v)} with ${who}`));
      svg.append(rect);
    });
    const layer = (model.job.tensors.find((t) => t.name === u.tensor) || {}).layer || u.tensor;
    const name = bars.length > 8 ? u.tensor : layer, tx = x + group / 2, ty = base + 16;
    svg.append(element("text", bars.length > 8 ? {x: tx + 4, y: base + 8, "text-anchor": "end", transform: `rotate(-50 ${tx + 4} ${base + 8})`} :
      {x: tx, y: ty, "text-anchor": "middle"}, name.length > 18 ? "…" + name.slice(-17) : name));
  });
  box.replaceChildren(svg);
};

const numbers = (updates) => {
  fillTable("numbers", "Numbers of the step",
    [["tensor", "text"], ["entries"], ["relative change"], ["plain SGD"], ["multiplier"], ["rate"], ["‖g‖₁"], ["‖W‖₁"]],
    updates.map((u) => ({cells: [u.tensor, u.entries === undefined ? "–" : count(u.entries), share(u.relative_delta), share(u.sgd_relative_delta),
      brief(u.multiplier), brief(u.rate ?? null), brief(u.gradient_l1 ?? null), brief(u.weight_l1 ?? null)]})));
};
