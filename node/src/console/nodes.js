// The nodes of the cluster: what each is, whether it lives, what it runs, and who reads for whom.

import { el, setAttribute, setFigure, setHidden, setState, setText } from "./elements.js";
import * as format from "./format.js";

const COLUMNS = [
  ["node", "Node"],
  ["state", "State"],
  ["partitions", "Partitions", "Partitions that it owns"],
  ["behind", "Behind", "Log entries that it lacks, by the leader's word; without one, those that it has not applied"],
  ["lease", "Lease", "How long it may write without asking the leader again"],
  ["relay", "Relay", "For which streams it reads beside their source, and what is read for it"],
  ["up", "Up", "How long its process has run"],
];

const names = new Map();

// What people call the node of this number.
export function nodeName(number) {
  return names.get(number) ?? `node ${number}`;
}

// What a node is in: by the leader's word, or else by what the answering node sees.
export function nodeState(node) {
  const seen = node.answers || node.connection === "connected" ? "up" : node.connection ? "away" : "unknown";
  const state = node.liveness ?? seen;
  if (state !== "up") return node.starts === 0 && !node.figures ? "joining" : state;
  if (node.leaving) return "stopping";
  return node.draining ? (node.partitions === 0 ? "drained" : "draining") : "up";
}

// What is worth a word beside the streams: nodes that are not simply up, and a missing leader.
export function nodeTroubles(status) {
  const words = { down: "is down", silent: "is silent", away: "is out of reach", draining: "is draining", stopping: "is stopping" };
  const troubles = status.nodes.map((node) => [node.name, words[nodeState(node)]]).filter(([, word]) => word);
  const parts = troubles.map(([name, word]) => `${name} ${word}`);
  if (status.raft.removed) parts.unshift(`${status.node.name} was removed from its cluster: what it shows is old`);
  if (status.nodes.length > 0 && !status.nodes.some((node) => node.leader)) parts.unshift("no node leads: nothing can be changed");
  return parts;
}

class NodeRow {
  constructor() {
    this.cells = {};
    this.row = el("tr", { role: "row", class: "member" });
    for (const [key, label] of COLUMNS) {
      const attributes = key === "node" ? { role: "rowheader", scope: "row" } : { role: "cell" };
      this.cells[key] = el(key === "node" ? "th" : "td", { ...attributes, class: `member-${key}`, "data-label": label });
      this.row.append(this.cells[key]);
    }
    this.name = el("span", { class: "member-name" });
    this.badge = el("span", { class: "badge", hidden: true }, "leader");
    this.place = el("p", { class: "aside" });
    this.cells.node.append(el("p", { class: "member-title" }, this.name, this.badge), this.place);
    this.state = el("span", {});
    this.cells.state.append(this.state);
    this.parts = {};
    for (const key of ["partitions", "behind", "lease", "relay", "up"]) {
      this.parts[key] = { figure: el("span", { class: "figure" }), aside: el("span", { class: "aside" }) };
      this.cells[key].append(this.parts[key].figure, this.parts[key].aside);
    }
    this.why = el("p", { class: "why" });
    this.reason = el("tr", { role: "row", class: "member-reason", hidden: true }, el("td", { role: "cell", colspan: COLUMNS.length }, this.why));
  }

  rows() {
    return [this.row, this.reason];
  }

  set(key, figure, aside = "") {
    setFigure(this.parts[key].figure, figure);
    setText(this.parts[key].aside, aside);
    setHidden(this.parts[key].aside, aside === "");
  }

  update(node, status) {
    const state = nodeState(node);
    const { figures } = node;
    setText(this.name, node.name);
    setHidden(this.badge, !node.leader);
    setText(this.place, [node.region, role(node), node.answers ? "answers here" : null].filter(Boolean).join(" · "));
    setState(this.state, state);
    setAttribute(this.row, "data-state", state);
    this.set("partitions", format.count(node.partitions), moving(node));
    const behind = format.count(node.behind_entries ?? figures?.apply_lag_entries);
    this.set("behind", state === "joining" ? "–" : behind, figures ? `term ${format.count(figures.term)}` : "");
    const absent = state === "down" || state === "joining";
    this.set("lease", absent ? "–" : lease(figures), lost(figures));
    this.set("relay", ...(absent ? ["–"] : relay(node, status)));
    const started = node.starts > 0 && state !== "down" ? format.duration((status.at - node.started_at) / 1000) : "–";
    this.set("up", started, figures && figures.version !== status.node.version ? `version ${figures.version}` : "");
    this.showReason(node, state, status);
  }

  showReason(node, state, status) {
    const apart = node.connection && !["connected", "connecting"].includes(node.connection);
    const kept = state === "down" && node.partitions > 0 ? `${format.plural(node.partitions, "partition")} ${node.partitions === 1 ? "waits" : "wait"} for another node. ` : "";
    const without = figuresWithoutLease(node) ? "It may not write: no leader grants it a lease. " : "";
    const text = `${kept}${without}${apart ? `${status.node.name} does not reach it: ${node.connection}` : ""}`.trim();
    setHidden(this.reason, text === "");
    setText(this.why, text);
    setAttribute(this.why, "data-state", state === "down" || without ? "faulted" : "blocked");
  }
}

function figuresWithoutLease(node) {
  return node.figures?.lease === "none";
}

function role(node) {
  if (node.member === null) return `to be ${node.role}`;
  return node.member === node.role ? node.member : `${node.member}, to be ${node.role}`;
}

function moving(node) {
  const parts = [[node.leaving_partitions, "leaving"], [node.arriving_partitions, "arriving"]];
  return parts.filter(([count]) => count > 0).map(([count, word]) => `${format.count(count)} ${word}`).join(", ");
}

function lease(figures) {
  if (!figures) return null;
  if (figures.lease === "unlimited") return "needs none";
  return figures.lease === "held" ? format.duration(figures.lease_seconds) ?? "held" : "none";
}

function lost(figures) {
  return figures?.lease_losses > 0 ? `lost ${figures.lease_losses === 1 ? "once" : `${format.count(figures.lease_losses)} times`}` : "";
}

// Which streams a node reads beside their source, with the number of partitions; and what others read for it.
function relay(node, status) {
  if (!node.figures) return [null];
  const { served_streams: served, received_streams: received, raw_bytes: raw, sent_bytes: sent } = node.figures.relay;
  const reads = status.streams.map((stream) => [stream.name, stream.figures.relayed_partitions[node.name] ?? 0]).filter(([, count]) => count > 0);
  const shown = reads.slice(0, 3).map(([name, count]) => `${name} (${format.count(count)})`);
  if (reads.length > 3) shown.push(`${reads.length - 3} more`);
  const amount = raw > 0 ? `${format.bytes(raw)} sent as ${format.bytes(sent)}` : "";
  if (shown.length) return [`reads ${shown.join(", ")}`, amount];
  if (served > 0) return [`reads ${format.plural(served, "partition")}`, amount];
  if (received > 0) return [`${format.plural(received, "partition")} read for it`, format.bytes(node.figures.relay.received_bytes)];
  return ["–"];
}

function summary(status) {
  const leader = status.nodes.find((node) => node.leader);
  if (status.raft.removed) {
    return `This node is no member of its cluster any more (${status.raft.removed}). Stop it; it comes back as a new node with a token of causeway cluster token and causeway cluster rejoin`;
  }
  if (status.nodes.length < 2) return "One node. Others let a cluster go on when it fails: causeway cluster token";
  const parts = [format.plural(status.nodes.length, "node"), leader ? `led by ${leader.name} in term ${format.count(status.raft.term)}` : "no leader"];
  if (status.moves > 0) parts.push(`${format.plural(status.moves, "partition")} on ${status.moves === 1 ? "its" : "their"} way to another node`);
  return parts.join(" · ");
}

export class NodeTable {
  constructor(container) {
    const heads = COLUMNS.map(([key, label, title]) => el("th", { role: "columnheader", scope: "col", class: `member-${key}`, title }, label));
    this.summary = el("p", { class: "nodes-summary" });
    this.body = el("tbody", { role: "rowgroup" });
    const table = el("table", { role: "table", class: "members" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.body);
    this.known = new Map();
    container.append(this.summary, table);
  }

  update(status) {
    status.nodes.forEach((node) => names.set(node.id, node.name));
    for (const [id, row] of this.known) {
      if (!status.nodes.some((node) => node.id === id)) {
        for (const part of row.rows()) part.remove();
        this.known.delete(id);
      }
    }
    status.nodes.forEach((node, position) => {
      let row = this.known.get(node.id);
      if (!row) this.known.set(node.id, (row = new NodeRow()));
      const place = this.body.children[position * 2] ?? null;
      if (place !== row.row) for (const part of row.rows()) this.body.insertBefore(part, place);
      row.update(node, status);
    });
    setText(this.summary, summary(status));
  }
}
