// SPDX-License-Identifier: Apache-2.0
// What the page knows of the training, and how it learns of it. See server/http/page_handler.h for
// the paths, and common/page/page_charts.h for the tables.
"use strict";

const $ = (id) => document.getElementById(id);
const frozen = JSON.parse($("data").textContent);

// job, status, activity, events, charts {training, evaluations, updates}; report: of a frozen page.
const model = {job: null, status: null, activity: null, events: [], charts: {}, report: null, steps: new Map()};

// Replaces the rows of a table that have changed.
const mergeTable = (name, change) => {
  const table = model.charts[name] || {rows: []};
  let keep = table.rows.length;
  while (keep > 0 && table.rows[keep - 1][0] >= change.after) keep--;
  model.charts[name] = {...change, rows: table.rows.slice(0, keep).concat(change.rows)};
};

// The part of a long training that is zoomed into, with finer tables: {from, end, to, at, charts}:
// of the steps from `from` to `end`, as far as `to`.
let detail = null, refining = false;

// A table; with its finer rows, where there are any.
const tableOf = (name) => {
  const table = model.charts[name], fine = detail && detail.charts && detail.charts[name];
  if (!table || !fine || !fine.rows.length || fine.names.some((each, i) => each !== table.names[i])) return table;
  const first = fine.rows[0][0], last = fine.rows[fine.rows.length - 1][1];
  return {...table, rows: [...table.rows.filter((row) => row[0] < first), ...fine.rows, ...table.rows.filter((row) => row[0] > last)]};
};

// Asks for finer tables of the steps of `range`, if they are not at hand; null: of none. New steps in
// it are asked for every five seconds. `changed` is called when they have come.
const refine = async (range, changed) => {
  const width = Math.max(1, ...Object.values(model.charts).map((table) => table.width));
  if (!range || frozen || width === 1) { detail = null; return; }
  const from = Math.max(0, Math.floor(range[0] / width) * width), end = (Math.floor(range[1] / width) + 1) * width - 1;
  const newest = newestStep(), to = Math.min(end, newest), same = detail && detail.from === from && detail.end === end;
  if (refining || to < from || same && (to <= detail.to && detail.charts || Date.now() - detail.at < 5000)) return;
  const asked = detail = {from, end, to, at: Date.now(), charts: same ? detail.charts : null};
  refining = true;
  try {
    const answer = await fetch(`/api/charts?from=${from}&to=${to}`, {signal: AbortSignal.timeout(10000)});
    if (answer.ok) asked.charts = await answer.json();
  } catch (error) { /* away: what the tables have */ }
  refining = false;
  changed();
};

const applyMessage = (message) => {
  for (const [name, change] of Object.entries(message.charts || {})) mergeTable(name, change);
  if (message.status) {
    // A new generation computes steps again: to the same bits, but points that are gone are gone.
    if (model.status && model.status.generation !== message.status.generation) { model.steps.clear(); detail = null; }
    model.status = message.status;
  }
  if (message.activity) { model.before = model.activity; model.activity = message.activity; }
  if (message.events) model.events = model.events.concat(message.events).slice(-1000);
};

const applyState = (state) => {
  model.job = state.job;
  model.charts = state.charts;
  model.events = state.events || [];
  model.steps.clear();
  detail = null;
  model.status = state.status;
  model.activity = state.activity;
  model.before = null;
  model.report = state.report || null;
  for (const step of state.steps || []) model.steps.set(step.step, step);
};

// The live page's connection. `changed` is called after every change, `said` with what to tell about
// the connection; empty: it works.
const connect = (changed, said) => {
  let source = null, last = Date.now(), loading = false, sleeping = false;
  const time = (at) => new Date(at).toLocaleTimeString();
  const close = () => { if (source) source.close(); source = null; };
  const heard = () => { last = Date.now(); said(""); };
  const load = async () => {
    if (loading) return;
    loading = true;
    close();
    try {
      const answer = await fetch("/api/state", {cache: "no-store", signal: AbortSignal.timeout(15000)});
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(await answer.text());
      const state = await answer.json();
      applyState(state);
      heard();
      changed();
      source = new EventSource("/api/events?after=" + encodeURIComponent(state.id));
      source.onmessage = (event) => { applyMessage(JSON.parse(event.data)); heard(); changed(); };
      source.addEventListener("reload", load);
    } catch (error) {
      // The watch below says so and tries again.
    } finally { loading = false; }
  };
  setInterval(() => {
    if (sleeping) return;
    const silent = Date.now() - last;
    if (silent > 5000) said(`The coordinator is away since ${time(last)}: this is its last word; trying again.`);
    if (source && source.readyState === EventSource.CLOSED || silent > 8000 && !loading) load();
  }, 2000);
  let hidden = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) {
      hidden = setTimeout(() => { sleeping = true; close(); }, 60000);  // lets others have the stream
    } else if (sleeping || Date.now() - last > 4000) { sleeping = false; load(); }
  });
  load();
};

// The exact numbers of a step, or what the tables have of it.
const loadStep = async (step) => {
  if (model.steps.has(step)) return model.steps.get(step);
  if (frozen) return null;
  const answer = await fetch("/api/step?step=" + step, {signal: AbortSignal.timeout(10000)});
  if (!answer.ok) return null;
  const exact = await answer.json();
  if (exact.updates.length || exact.training) {
    if (model.steps.size > 300) model.steps.delete(model.steps.keys().next().value);
    if (exact.updates.length) model.steps.set(step, exact);
  }
  return exact;
};

// The row of a table that contains the step, or the last one before it.
const rowAt = (table, step) => {
  let low = 0, high = table ? table.rows.length : 0;
  while (low < high) { const mid = (low + high) >> 1; if (table.rows[mid][0] <= step) low = mid + 1; else high = mid; }
  return low ? table.rows[low - 1] : null;
};
const newestStep = () => {
  const last = (name) => { const t = model.charts[name]; return t && t.rows.length ? t.rows[t.rows.length - 1][1] : -1; };
  return Math.max(last("training"), last("updates"));
};

// The newest step with all numbers: statistics come a little later than the loss.
const latestStep = () => {
  const updates = model.charts.updates;
  return updates && updates.rows.length ? updates.rows[updates.rows.length - 1][1] : newestStep();
};

// A column as points [step, value]: two for a row of several steps, its extremes in their order.
const columnPoints = (table, column, positive) => {
  const points = [];
  const add = (x, y) => { if (y !== null && (!positive || y > 0)) points.push([x, y]); };
  for (const row of table ? table.rows : []) {
    const cell = row[2 + column];
    if (cell === undefined || cell === null) continue;
    if (Array.isArray(cell)) { add(row[0], cell[0]); add(row[0] + Math.max(1, Math.floor((row[1] - row[0] + 1) / 2)), cell[1]); }
    else add(row[0], cell);
  }
  return points;
};
const extreme = (cell, which) => Array.isArray(cell) ? (which ? Math.max(...cell) : Math.min(...cell)) : cell;
