// One line chart of the last hour: axes with units, gaps where nothing is known, a value under the pointer or the
// arrow keys.

import { el, setText, svg } from "./elements.js";
import * as format from "./format.js";

const HEIGHT = 160;
const EDGE = { top: 10, right: 8, bottom: 22, left: 44 };
const SPANS = [5, 15, 30, 60].map((minutes) => minutes * 60000);
// Points come every ten seconds; where more than three are missing the line is broken.
const LONGEST_STEP = 35000;

export class Chart {
  // words: title, unit, key (field of a point), show (value, and the state where it is known, to text), tone
  constructor(words) {
    this.words = words;
    this.points = [];
    this.cursor = null;
    this.latest = el("span", { class: "chart-latest" });
    this.canvas = svg("svg", { class: "chart-canvas", height: HEIGHT, tabindex: "0", role: "img" });
    this.tip = el("p", { class: "chart-tip", hidden: true });
    this.node = el(
      "figure",
      { class: `chart chart-${words.tone}` },
      el("figcaption", {}, el("span", { class: "chart-title" }, words.title), el("span", { class: "chart-unit" }, words.unit), this.latest),
      el("div", { class: "chart-frame" }, this.canvas, this.tip),
    );
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.clear());
    this.canvas.addEventListener("blur", () => this.clear());
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  update(points, now) {
    this.points = points;
    this.now = now;
    this.draw();
  }

  draw() {
    const width = Math.floor(this.node.clientWidth);
    if (!width || this.now === undefined) return;
    this.width = width;
    const values = this.points.filter((point) => this.value(point) !== null);
    const first = this.points.length ? this.points[0].at : this.now;
    this.span = SPANS.find((span) => this.now - first <= span) ?? SPANS[SPANS.length - 1];
    this.ceiling = format.niceCeiling(Math.max(0, ...values.map((point) => this.value(point))));
    this.canvas.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.canvas.setAttribute("width", width);
    this.canvas.replaceChildren(...this.grid(), ...this.lines(), this.marker());
    this.label(values);
    this.showCursor();
  }

  value(point) {
    const value = point[this.words.key];
    return value === null || value === undefined ? null : value;
  }

  x(at) {
    const inner = this.width - EDGE.left - EDGE.right;
    return EDGE.left + inner * (1 - (this.now - at) / this.span);
  }

  y(value) {
    return HEIGHT - EDGE.bottom - ((HEIGHT - EDGE.top - EDGE.bottom) * value) / this.ceiling;
  }

  grid() {
    const marks = [];
    for (const part of [0, 0.5, 1]) {
      const y = this.y(this.ceiling * part);
      marks.push(svg("line", { class: part ? "rule" : "rule base", x1: EDGE.left, x2: this.width - EDGE.right, y1: y, y2: y }));
      marks.push(svg("text", { class: "tick", x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, format.compact(this.ceiling * part)));
    }
    const steps = this.width < 300 ? 2 : 4;
    for (let step = 0; step <= steps; step += 1) {
      const at = this.now - (this.span * (steps - step)) / steps;
      const anchor = step === 0 ? "start" : step === steps ? "end" : "middle";
      const text = step === steps ? "now" : format.hourMinute(at);
      marks.push(svg("text", { class: "tick", x: this.x(at), y: HEIGHT - 5, "text-anchor": anchor }, text));
    }
    return marks;
  }

  lines() {
    const drawn = [];
    let run = [];
    const finish = () => {
      if (run.length) drawn.push(...this.run(run));
      run = [];
    };
    for (const point of this.points) {
      if (this.now - point.at > this.span) continue;
      const late = run.length && point.at - run[run.length - 1].at > LONGEST_STEP;
      if (this.value(point) === null || late) finish();
      if (this.value(point) !== null) run.push(point);
    }
    finish();
    return drawn;
  }

  run(points) {
    const place = (point) => `${this.x(point.at).toFixed(1)},${this.y(this.value(point)).toFixed(1)}`;
    if (points.length === 1) return [svg("circle", { class: "dot", cx: this.x(points[0].at), cy: this.y(this.value(points[0])), r: 2 })];
    const line = points.map(place).join(" ");
    const base = this.y(0).toFixed(1);
    const from = this.x(points[0].at).toFixed(1);
    const to = this.x(points[points.length - 1].at).toFixed(1);
    return [
      svg("polygon", { class: "area", points: `${from},${base} ${line} ${to},${base}` }),
      svg("polyline", { class: "line", points: line }),
    ];
  }

  marker() {
    this.crosshair = svg("g", { class: "crosshair", visibility: "hidden" }, svg("line", { y1: EDGE.top, y2: HEIGHT - EDGE.bottom }), svg("circle", { r: 3.5 }));
    return this.crosshair;
  }

  label(values) {
    const last = this.points[this.points.length - 1];
    const newest = last ? this.value(last) : null;
    setText(this.latest, newest === null ? "unknown" : this.words.show(newest, last.state));
    this.latest.classList.toggle("unknown", newest === null);
    const largest = values.length ? this.words.show(Math.max(...values.map((point) => this.value(point)))) : "unknown";
    const minutes = Math.round(this.span / 60000);
    const text = `${this.words.title}, last ${minutes} minutes. Now ${this.latest.textContent}, largest ${largest}. Arrow keys read single values.`;
    if (this.canvas.getAttribute("aria-label") !== text) this.canvas.setAttribute("aria-label", text);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const at = this.now - this.span * (1 - (event.clientX - box.left - EDGE.left) / (this.width - EDGE.left - EDGE.right));
    const near = this.points.reduce((best, point) => (best && Math.abs(best.at - at) <= Math.abs(point.at - at) ? best : point), null);
    this.cursor = near ? near.at : null;
    this.showCursor();
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step || this.points.length === 0) return;
    event.preventDefault();
    const last = this.points.length - 1;
    const current = this.cursor === null ? last + 1 : this.points.findIndex((point) => point.at >= this.cursor);
    this.cursor = this.points[Math.min(last, Math.max(0, current + step))].at;
    this.showCursor();
  }

  clear() {
    this.cursor = null;
    this.showCursor();
  }

  showCursor() {
    const point = this.cursor === null ? null : this.points.find((candidate) => candidate.at >= this.cursor);
    this.tip.hidden = !point;
    this.crosshair?.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) return;
    const value = this.value(point);
    const x = this.x(point.at);
    const [line, dot] = this.crosshair.children;
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", this.y(value ?? 0));
    dot.setAttribute("visibility", value === null ? "hidden" : "inherit");
    setText(this.tip, `${format.time(point.at)}  ${value === null ? "unknown" : this.words.show(value, point.state)}`);
    this.tip.style.left = `${Math.min(Math.max(x, 70), this.width - 70)}px`;
  }
}
