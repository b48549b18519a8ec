// The map: one crossing for each pair of regions, with the RPO on its arrow.

import { el, setAttribute, setFigure, setState, setText } from "./elements.js";
import * as format from "./format.js";

function crossing() {
  const parts = {
    source: el("p", { class: "shore-name" }),
    sourceInstances: el("p", { class: "shore-detail" }),
    target: el("p", { class: "shore-name" }),
    targetInstances: el("p", { class: "shore-detail" }),
    state: el("span", {}),
    rpo: el("span", { class: "rpo-value" }),
    rate: el("span", {}),
    streams: el("span", {}),
  };
  const shore = (label, name, detail) => el("div", { class: "shore" }, el("p", { class: "shore-label" }, label), name, detail);
  parts.node = el(
    "li",
    { class: "crossing" },
    shore("from", parts.source, parts.sourceInstances),
    el(
      "div",
      { class: "span" },
      el("p", { class: "span-top" }, parts.state),
      el("div", { class: "road" }, el("p", { class: "rpo" }, el("abbr", { title: "Recovery point: upper bound of the age of what would be lost if the source were gone now" }, "RPO"), " ", parts.rpo)),
      el("p", { class: "span-bottom" }, parts.rate, parts.streams),
    ),
    shore("to", parts.target, parts.targetInstances),
  );
  return parts;
}

export class Map {
  constructor(container) {
    this.container = container;
    this.list = el("ul", { class: "crossings" });
    this.empty = el("p", { class: "empty" });
    this.known = {};
    container.append(this.list, this.empty);
  }

  update(status) {
    const keys = status.flows.map((flow) => `${flow.source_region} ${flow.target_region}`);
    for (const key of Object.keys(this.known)) {
      if (!keys.includes(key)) {
        this.known[key].node.remove();
        delete this.known[key];
      }
    }
    status.flows.forEach((flow, position) => {
      const parts = (this.known[keys[position]] ??= crossing());
      if (this.list.children[position] !== parts.node) this.list.insertBefore(parts.node, this.list.children[position] ?? null);
      this.show(parts, flow, status);
    });
    this.empty.hidden = status.flows.length > 0;
    setText(this.empty, emptyText(status));
  }

  show(parts, flow, status) {
    const used = (end) => {
      const streams = status.streams.filter(
        (stream) => stream.source.region === flow.source_region && stream.target.region === flow.target_region,
      );
      return [...new Set(streams.map((stream) => stream[end].instance))];
    };
    setText(parts.source, flow.source_region);
    setText(parts.target, flow.target_region);
    setText(parts.sourceInstances, instances(used("source"), flow.source_region));
    setText(parts.targetInstances, instances(used("target"), flow.target_region));
    setState(parts.state, flow.state);
    const paused = flow.state === "paused";
    setFigure(parts.rpo, paused ? "none while paused" : format.duration(flow.rpo_seconds));
    setText(parts.rate, paused ? "" : format.rate(flow.copied_messages_per_second) ?? "unknown rate");
    setText(parts.streams, format.plural(flow.streams, "stream"));
    setAttribute(parts.node, "data-state", flow.state);
    setAttribute(parts.node, "data-flowing", flow.copied_messages_per_second > 0 && !paused ? "" : null);
  }
}

// The name of an instance is worth showing only where it says more than the region.
function instances(names, region) {
  const telling = names.filter((name) => name !== region);
  if (telling.length === 0) return "RocketMQ";
  return telling.length <= 2 ? telling.join(", ") : `${telling.length} instances`;
}

function emptyText(status) {
  if (status.instances.length < 2) return "No instances to copy between yet. Register two: causeway instance add NAME …";
  return "No stream connects the registered instances yet: causeway stream create NAME --from INSTANCE/TOPIC --to INSTANCE/TOPIC";
}
