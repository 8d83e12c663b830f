// SPDX-License-Identifier: Apache-2.0
// Another run, from the CSV files of its report, under the lines of this one.
"use strict";

const overlay = {name: "", loss: [], accuracy: [], test: [], testLoss: [], rate: [], change: new Map(), multiplier: new Map()};

// Fields of a line of CSV; names with commas or quotes are quoted.
const fields = (line) => {
  const out = [];
  for (let i = 0; i <= line.length;) {
    if (line[i] === '"') {
      let text = "";
      for (i++; i < line.length; i++) {
        if (line[i] !== '"') text += line[i];
        else if (line[i + 1] === '"') { text += '"'; i++; }
        else break;
      }
      out.push(text);
      i += 2;
    } else {
      let end = line.indexOf(",", i);
      if (end < 0) end = line.length;
      out.push(line.slice(i, end));
      i = end + 1;
    }
  }
  return out;
};

// At most about a thousand points, with all extremes.
const thin = (points) => {
  if (points.length <= 1000) return points;
  const size = Math.ceil(points.length / 500), out = [];
  for (let i = 0; i < points.length; i += size) {
    const part = points.slice(i, i + size);
    const low = part.reduce((a, b) => b[1] < a[1] ? b : a), high = part.reduce((a, b) => b[1] > a[1] ? b : a);
    out.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
  }
  return out;
};

// Takes the text of a file; returns why it cannot, or nothing.
const layOver = (name, text) => {
  const lines = text.split(/\r?\n/).filter((line) => line);
  const columns = fields(lines[0] || ""), at = (column) => columns.indexOf(column);
  const points = (rows, column) => thin(rows.filter((row) => row[at(column)] !== "" && row[at(column)] !== undefined)
    .map((row) => [Number(row[at("step")]), Number(row[at(column)])]).filter((p) => p.every(Number.isFinite)));
  if (at("step") < 0) return `${name}: expected a CSV file of a report, with a column step, got ${columns.slice(0, 3).join(", ").slice(0, 60) || "nothing"}`;
  const rows = lines.slice(1).map(fields);
  if (at("relative_delta") >= 0 && at("tensor") >= 0) {
    const byTensor = new Map();
    for (const row of rows) {
      const tensor = row[at("tensor")];
      if (!byTensor.has(tensor)) byTensor.set(tensor, []);
      byTensor.get(tensor).push(row);
    }
    overlay.change = new Map([...byTensor].map(([tensor, its]) => [tensor, points(its, "relative_delta")]));
    overlay.multiplier = new Map([...byTensor].map(([tensor, its]) => [tensor, points(its, "multiplier")]));
  } else if (at("loss") >= 0) {
    overlay.loss = points(rows, "loss");
    overlay.accuracy = points(rows, "accuracy");
    overlay.test = points(rows, "test_accuracy");
    overlay.testLoss = points(rows, "test_loss");
    const seconds = points(rows, "seconds");
    overlay.rate = rates(seconds.map(([step, second]) => [step, second]));
  } else {
    return `${name}: expected progress.csv or statistics.csv of a report, got the columns ${columns.join(", ").slice(0, 80)}`;
  }
  overlay.name = name;
  return "";
};

const clearOverlay = () => Object.assign(overlay, {name: "", loss: [], accuracy: [], test: [], testLoss: [], rate: [], change: new Map(), multiplier: new Map()});

// Examples a second between points [step, seconds], over some of them at a time.
const rates = (points) => {
  const out = [], window = Math.max(1, Math.floor(points.length / 60));
  for (let i = window; i < points.length; i++) {
    const [x0, s0] = points[i - window], [x1, s1] = points[i];
    if (s1 > s0) out.push([x1, (x1 - x0) * model.job.batch * model.job.slots / (s1 - s0)]);
  }
  return out;
};
