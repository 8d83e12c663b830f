// SPDX-License-Identifier: Apache-2.0
// The charts: dygraphs with the page's colours, one cursor and one range of steps for all of them, and
// marks where something happened.
"use strict";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const brief = (x) => x === null || !Number.isFinite(x) ? "–" : x === 0 ? "0" :
  Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5 ? String(+x.toPrecision(4)) : x.toExponential(2);
const share = (x) => x !== null && Number.isFinite(x) ? brief(100 * x) + " %" : "–";
const power = (x) => x >= 1e-3 && x < 1e5 ? brief(x) : superscript(Math.round(Math.log10(x)));
const powerShare = (x) => power(100 * x) + " %";
const percent = (x, digits = 2) => x !== null && Number.isFinite(x) ? (100 * x).toFixed(digits) + " %" : "–";
const superscript = (e) => "10" + String(e).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);

// The ticks of a log axis: decades, and between them if there are few.
const logTicks = (format) => (low, high, pixels) => {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high)), room = Math.max(2, pixels / 26);
  const every = Math.max(1, Math.ceil((last - first) / room)), between = 3 * (last - first) <= room ? [1, 2, 5] : [1];
  const ticks = [];
  for (let e = first; e <= last; e += every) {
    for (const m of between) {
      const v = m * 10 ** e;
      if (v >= low && v <= high) ticks.push({v, label: format(v)});
    }
  }
  return ticks;
};

const MARKS = {
  "generation": {glyph: "▲", color: "--ink", dash: [], level: 0},
  "shard": {glyph: "■", color: "--c5", dash: [4, 3], level: 1},
  "fault": {glyph: "✕", color: "--c1", dash: [2, 3], level: 2},
  "checkpoint": {glyph: "◆", color: "--c2", dash: null, level: 3},
  "checkpoint-failed": {glyph: "◇", color: "--c1", dash: [2, 3], level: 3},
  "pause": {glyph: "▮▮", color: "--c0", dash: [6, 3], level: 4},
  "resume": {glyph: "▶", color: "--c0", dash: [6, 3], level: 5},
  "drain": {glyph: "▼", color: "--c0", dash: [6, 3], level: 4},
  "end": {glyph: "●", color: "--ink", dash: [], level: 0},
};

// The page has legends of its own; the library's sets a style that the page's policy forbids.
Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);

const charts = [];
const mouse = {x: null, y: null};
const sharedZoom = {range: null, busy: false};

// Series with the same steps in one table, as dygraphs wants them.
const join = (series) => {
  const at = new Map();
  series.forEach((each, i) => {
    for (const [x, y] of each.points) {
      let row = at.get(x);
      if (!row) at.set(x, row = [x, ...new Array(series.length).fill(null)]);
      row[i + 1] = y;
    }
  });
  return [...at.values()].sort((a, b) => a[0] - b[0]);
};

const drawMarks = (canvas, area, graph) => {
  canvas.save();
  canvas.font = "11px sans-serif";
  canvas.textAlign = "center";
  let drawn = 0;
  const newest = newestStep();  // what happens before the next step is at the end of the lines
  graph.marks = {};
  for (let i = model.events.length - 1; i >= 0 && drawn < 200; i--) {
    const event = model.events[i], mark = MARKS[event.kind];
    if (!mark) continue;
    const x = graph.toDomXCoord(Math.min(event.step, newest));
    if (x < area.x || x > area.x + area.w) continue;
    canvas.strokeStyle = canvas.fillStyle = style(mark.color);
    if (mark.dash) {
      canvas.setLineDash(mark.dash);
      canvas.globalAlpha = .55;
      canvas.beginPath(); canvas.moveTo(x, area.y); canvas.lineTo(x, area.y + area.h); canvas.stroke();
      canvas.globalAlpha = 1;
    }
    canvas.fillText(mark.glyph, x, mark.level === 3 ? area.y + area.h - 3 : area.y + 10 + 12 * mark.level);
    drawn++;
    graph.marks[event.kind] = (graph.marks[event.kind] || 0) + 1;
  }
  canvas.restore();
};

// Dragging zooms and a double click shows all again; on a touch screen a finger scrolls the page, and
// a tap picks a step.
const interaction = () => {
  const all = Dygraph.defaultInteractionModel;
  return {mousedown: all.mousedown, dblclick: all.dblclick, willDestroyContextMyself: all.willDestroyContextMyself};
};

class Chart {
  // options: log, format(value), floor (values below it are at the edge), zero; describe() returns the text for those who do not see it.
  constructor(id, options) {
    this.div = $(id);
    this.options = options;
    this.series = [];
    this.cursor = document.createElement("div");
    this.cursor.className = "cursor";
    this.cursor.hidden = true;
    this.inner = document.createElement("div");
    this.inner.className = "chart";
    this.inner.style.height = "100%";
    this.inner.style.margin = "0";
    this.none = document.createElement("p");
    this.none.className = "none";
    this.none.textContent = "No data yet";
    this.div.append(this.inner, this.cursor, this.none);
    this.div.setAttribute("role", "img");
    charts.push(this);
  }

  // series: [{name, color (a custom property), dash, points}]
  show(series) {
    this.series = series.filter((each) => each.points.length);
    this.none.hidden = this.series.length > 0;
    this.div.setAttribute("aria-label", this.describe());
    if (!this.series.length) { if (this.graph) this.graph.destroy(); this.graph = null; this.cursor.hidden = true; return; }
    const data = join(this.series);
    if (data.length === 1) data.push([data[0][0] + 1, ...new Array(this.series.length).fill(null)]);
    const single = this.series.every((each) => each.points.length < 3);
    const perSeries = {};
    this.series.forEach((each, i) => {
      perSeries[i + ""] = {strokePattern: each.dash || null, strokeWidth: each.thin ? 1.3 : 2, color: style(each.color)};
    });
    const {floor} = this.options;
    const lowest = floor ? Math.min(...this.series.flatMap((each) => each.points.map((p) => p[1]))) : 1;
    const options = {
      valueRange: floor && lowest < floor ? [floor, null] : null,
      labels: ["step", ...this.series.map((_, i) => i + "")], series: perSeries, colors: this.series.map((each) => style(each.color)),
      drawPoints: single, pointSize: 2.5, gridLineColor: style("--rule"), axisLineColor: style("--soft"),
    };
    if (this.graph) { this.graph.updateOptions({...options, file: data}); }
    else { this.graph = new Dygraph(this.inner, data, {...options, ...this.constants()}); }
    this.place(picked.step);
  }

  constants() {
    const {log, format, zero} = this.options;
    return {
      logscale: !!log, connectSeparatedPoints: true, legend: "never", highlightCircleSize: 3, axisLabelFontSize: 12,
      xRangePad: 4, yRangePad: log ? 0 : 8, animatedZooms: false, interactionModel: interaction(),
      includeZero: !!zero, dateWindow: sharedZoom.range,
      axes: {
        x: {drawGrid: false, axisLabelFormatter: (x) => Number.isInteger(x) ? String(x) : "", pixelsPerLabel: 70},
        y: {axisLabelWidth: 60, pixelsPerLabel: 34, axisLabelFormatter: (y) => (format || brief)(y),
          ...(log ? {ticker: logTicks(format || brief)} : {})},
      },
      highlightCallback: (event, x) => {
        // A browser also sends this when the chart changes under a mouse that rests.
        if (mouse.x === event.clientX && mouse.y === event.clientY) return;
        Object.assign(mouse, {x: event.clientX, y: event.clientY});
        pick(Math.round(x), "hover");
      },
      underlayCallback: drawMarks,
      zoomCallback: (low, high) => this.zoomed(low, high),
    };
  }

  zoomed() {
    if (sharedZoom.busy) return;
    sharedZoom.busy = true;
    sharedZoom.range = this.graph.isZoomed("x") ? this.graph.xAxisRange() : null;
    for (const other of charts) {
      if (other !== this && other.graph) other.graph.updateOptions({dateWindow: sharedZoom.range});
    }
    sharedZoom.busy = false;
    placeCursors();
    draw();
  }

  // Draws the cursor at the step.
  place(step) {
    if (!this.graph || step === null) { this.cursor.hidden = true; return; }
    const area = this.graph.getArea(), x = this.graph.toDomXCoord(step);
    this.cursor.hidden = !(x >= area.x - 1 && x <= area.x + area.w + 1);
    this.cursor.style.left = x + "px";
    this.cursor.style.top = area.y + "px";
    this.cursor.style.height = area.h + "px";
  }

  describe() {
    const format = this.options.value || this.options.format || brief;
    const parts = this.series.slice(0, 12).map((each) =>
      `${each.name}: ${format(each.points[0][1])} at step ${each.points[0][0]}, ` +
      `${format(each.points[each.points.length - 1][1])} at step ${each.points[each.points.length - 1][0]}`);
    return `${this.options.title}. ${parts.length ? parts.join("; ") : "No data yet"}`;
  }
}

const placeCursors = () => { for (const chart of charts) chart.place(picked.step); };

// Shows which line is which.
const legend = (id, series) => {
  const shown = series.filter((each) => each.points.length);
  const key = JSON.stringify(shown.map((each) => [each.name, each.color, each.dash]));
  const div = $(id);
  if (div.dataset.key === key) return;
  div.dataset.key = key;
  div.replaceChildren(...shown.map((each) => {
    const item = document.createElement("span"), line = document.createElement("i");
    line.className = "line" + (each.dash ? each.dash[0] < 3 ? " dot" : " dash" : "");
    line.style.borderColor = `var(${each.color})`;
    item.append(line, each.name);
    return item;
  }));
};
