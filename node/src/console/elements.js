// Builds and changes elements. Text is always set as text, so nothing that an operator or a broker named is ever
// read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Changes nothing where nothing changed, so that selections and screen readers are left in peace.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

// A figure that may be unknown; unknown looks different from every value.
export function setFigure(node, text) {
  setText(node, text ?? "unknown");
  node.classList.toggle("unknown", text === null || text === undefined);
}

// One shape for each state, so that none is told by colour alone.
const SHAPES = {
  ready: [["circle", { cx: 8, cy: 8, r: 5.5 }]],
  starting: [["path", { d: "M8 2.5a5.5 5.5 0 1 1-5.5 5.5" }], ["path", { d: "M2.5 8V4.2M2.5 8h3.6" }]],
  catching_up: [["path", { d: "M3 3.5 7.5 8 3 12.5M8.5 3.5 13 8l-4.5 4.5" }]],
  running: [["circle", { cx: 8, cy: 8, r: 6, class: "solid" }], ["path", { d: "M5.2 8.2 7.2 10.2 11 6", class: "cut" }]],
  paused: [["path", { d: "M5.5 3.5v9M10.5 3.5v9" }]],
  blocked: [["path", { d: "M5.4 1.8h5.2l3.6 3.6v5.2l-3.6 3.6H5.4l-3.6-3.6V5.4z" }], ["path", { d: "M5 8h6" }]],
  faulted: [["path", { d: "M8 1.8 15 14H1z", class: "solid" }], ["path", { d: "M8 6v3.6M8 11.8v.2", class: "cut" }]],
  pausing: [["path", { d: "M5.5 3.5v9M10.5 3.5v9" }]],
  deleting: [["path", { d: "M3.5 3.5l9 9M12.5 3.5l-9 9" }]],
  up: [["circle", { cx: 8, cy: 8, r: 6, class: "solid" }], ["path", { d: "M5.2 8.2 7.2 10.2 11 6", class: "cut" }]],
  draining: [["path", { d: "M8 2.5v8M4.5 7.2 8 10.7l3.5-3.5M3.5 13.5h9" }]],
  drained: [["path", { d: "M3.5 13.5h9M3.5 9.5h9" }]],
  stopping: [["path", { d: "M4 4h8v8H4z" }]],
  joining: [["path", { d: "M8 3v10M3 8h10" }]],
  silent: [["circle", { cx: 8, cy: 8, r: 5.5 }], ["path", { d: "M5.5 8h5" }]],
  away: [["path", { d: "M2.5 8h3.5M10 8h3.5M6.5 5.5v5M9.5 5.5v5" }]],
  down: [["path", { d: "M3.5 3.5l9 9M12.5 3.5l-9 9" }]],
  unknown: [["circle", { cx: 8, cy: 8, r: 5.5 }]],
};

const WORDS = { catching_up: "catching up", away: "out of reach" };

const MEANINGS = {
  ready: "exists, nothing runs yet",
  starting: "reading what is at the target already",
  catching_up: "copying a backlog",
  running: "at the end of the source",
  paused: "stopped by an operator",
  blocked: "something is unavailable; tries again",
  faulted: "waits for a decision",
  pausing: "stopped by an operator; its last sends are under way",
  deleting: "being removed",
  up: "holds a lease or may have one at any time",
  draining: "its partitions move to other nodes, a few at a time",
  drained: "runs nothing and is given nothing",
  stopping: "its process ends; its partitions move to other nodes first",
  joining: "was let in and has not started yet",
  silent: "did not ask for its lease for a while, and may still hold it",
  away: "the node that answers does not reach it, and no leader says more",
  down: "holds no lease: its partitions go to other nodes",
  unknown: "nobody knows: there is no leader",
};

export function stateWord(state) {
  return WORDS[state] ?? state;
}

export function stateMeaning(state) {
  return MEANINGS[state] ?? "";
}

export function stateIcon(state) {
  const shapes = (SHAPES[state] ?? SHAPES.ready).map(([tag, attributes]) => svg(tag, attributes));
  return svg("svg", { class: "state-icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, ...shapes);
}

// A state as icon and word; made anew only when the state changes.
export function setState(node, state) {
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  node.classList.add("state");
  node.title = stateMeaning(state);
  node.replaceChildren(stateIcon(state), el("span", {}, stateWord(state)));
}
