// The status page: asks the node again and again and shows what it says.

import { el, setAttribute, setHidden, setState, setText, stateIcon, stateWord } from "./elements.js";
import * as format from "./format.js";
import { Map as Crossings } from "./map.js";
import { NodeTable, nodeTroubles } from "./nodes.js";
import { Poller, ask, forgetToken, setToken, takeTokenFromAddress, token } from "./session.js";
import { StreamTable } from "./streams.js";

const find = (id) => document.getElementById(id);
const THEMES = ["system", "light", "dark"];

const crossings = new Crossings(find("map"));
const table = new StreamTable(find("stream-table"));
const nodes = new NodeTable(find("node-table"));
const poller = new Poller(look);
const seen = { history: 0, started: null, lost: null };

async function look() {
  try {
    const status = await ask(`/v1/status?history_since=${seen.history}`);
    show(status);
    return {};
  } catch (trouble) {
    if (trouble.kind === "unauthenticated") {
      closeGate(trouble.message);
      return { failed: true };
    }
    if (trouble.kind === undefined) throw trouble;
    disconnected(trouble);
    return { failed: true, seconds: trouble.seconds };
  }
}

function show(status) {
  if (seen.started !== null && seen.started !== status.node.started_at) {
    // A restarted node has a new last hour; ask for all of it next time.
    table.restart();
    seen.history = 0;
  } else {
    for (const stream of status.streams) {
      for (const point of stream.history ?? []) seen.history = Math.max(seen.history, point.at);
    }
  }
  seen.started = status.node.started_at;
  seen.lost = null;
  seen.status = status;
  setLink("live", "live");
  document.body.classList.remove("is-stale");
  setHidden(find("gate"), true);
  setHidden(find("board"), false);
  setHidden(find("sign-out"), false);
  showNode(status);
  showHeadline(status);
  crossings.update(status);
  table.update(status);
  nodes.update(status);
  showEvents(status);
}

function disconnected(trouble) {
  seen.lost ??= Date.now();
  const last = seen.status ? `disconnected since ${format.time(seen.lost)}` : "not connected";
  setLink("lost", trouble.kind === "refused" || trouble.kind === "wait" ? trouble.message : last);
  document.body.classList.add("is-stale");
  document.title = "Causeway · disconnected";
  if (!seen.status) return;
  setHeadline("ready", "The node does not answer");
  setText(find("subline"), `What follows was true at ${format.time(seen.status.at)}.`);
}

function setLink(kind, text) {
  const node = find("link-state");
  setAttribute(node, "data-link", kind);
  setText(node, text);
}

function showNode(status) {
  const { node, raft } = status;
  const role = raft.role === "leader" && raft.nodes <= 1 ? "single node" : raft.role;
  setText(find("node"), `${node.name} · ${node.region} · ${role}`);
  const up = format.duration((status.at - node.started_at) / 1000);
  setText(find("foot"), `Causeway ${node.version}, up ${up}. Raft term ${format.count(raft.term)}, entry ${format.count(raft.applied_index)} applied.`);
}

// One sentence that says whether anything has to be done.
function showHeadline(status) {
  const { streams } = status;
  const inState = (...states) => streams.filter((stream) => states.includes(stream.state));
  const faulted = inState("faulted");
  const blocked = inState("blocked");
  const early = inState("ready", "starting");
  const catching = inState("catching_up");
  const paused = inState("paused");
  const running = inState("running");
  const verb = (list, one, many) => `${format.plural(list.length, "stream")} ${list.length === 1 ? one : many}`;
  let [state, text] = ["ready", "No stream yet"];
  if (faulted.length) [state, text] = ["faulted", verb(faulted, "waits for a decision", "wait for a decision")];
  else if (blocked.length) [state, text] = ["blocked", verb(blocked, "is blocked and tries again", "are blocked and try again")];
  else if (early.length) [state, text] = ["starting", verb(early, "is starting", "are starting")];
  else if (catching.length) [state, text] = ["catching_up", verb(catching, "is catching up", "are catching up")];
  else if (running.length) [state, text] = ["running", running.length === streams.length ? allRunning(streams.length) : verb(running, "is running", "are running")];
  else if (paused.length) [state, text] = ["paused", streams.length === 1 ? "The stream is paused" : "All streams are paused"];
  setHeadline(state, text);
  document.title = streams.length ? `Causeway · ${text}` : "Causeway";
  setText(find("subline"), [subline(streams, paused, state), ...nodeTroubles(status)].join(" · "));
}

function setHeadline(state, text) {
  const headline = find("headline");
  if (headline.dataset.state === state && headline.dataset.text === text) return;
  headline.dataset.state = state;
  headline.dataset.text = text;
  headline.replaceChildren(stateIcon(state), el("span", {}, text));
}

function allRunning(number) {
  if (number === 1) return "The stream is running";
  return number === 2 ? "Both streams are running" : `All ${number} streams are running`;
}

function subline(streams, paused, state) {
  if (streams.length === 0) return "Copies appear here as soon as the first stream exists";
  const rates = streams.map((stream) => stream.figures.copied_messages_per_second);
  const known = rates.filter((rate) => rate !== null);
  const total = known.length ? format.rate(known.reduce((sum, rate) => sum + rate, 0)) : null;
  const copied = format.messages(streams.reduce((sum, stream) => sum + stream.figures.copied_messages, 0));
  const parts = [total ? `${total} in all` : "rate unknown", `${copied} copied as this node counted`];
  if (paused.length && state !== "paused") parts.push(`${format.plural(paused.length, "stream")} paused`);
  return parts.join(" · ");
}

function showEvents(status) {
  const list = find("events");
  const key = status.events.map((event) => `${event.at} ${event.stream} ${event.to}`).join("|");
  if (seen.events === key) return;
  seen.events = key;
  const items = status.events.slice(0, 20).map((event) => {
    const state = el("span", {});
    if (event.to) setState(state, event.to);
    else state.append(el("span", { class: "state" }, "deleted"));
    const before = event.from && event.to ? `was ${stateWord(event.from)}` : event.to ? "first seen" : "";
    return el(
      "li",
      {},
      el("time", { datetime: new Date(event.at).toISOString(), title: format.dateTime(event.at) }, format.time(event.at)),
      el("span", { class: "event-stream" }, event.stream),
      state,
      el("span", { class: "event-why" }, [before, event.why].filter(Boolean).join("; "), event.code ? ` (${event.code})` : ""),
    );
  });
  list.replaceChildren(...(items.length ? items : [el("li", { class: "empty" }, "Nothing has changed since the node started.")]));
}

// Shows the form for the token, with why it is needed again.
function closeGate(message) {
  poller.stop();
  forgetToken();
  setLink("waiting", "waiting for a token");
  setHidden(find("board"), true);
  setHidden(find("sign-out"), true);
  setHidden(find("gate"), false);
  setText(find("gate-message"), message);
  find("token").value = "";
  find("token").focus();
}

function openGate() {
  seen.history = 0;
  seen.started = null;
  setLink("waiting", "connecting");
  poller.start();
}

function setTheme(theme) {
  const known = THEMES.includes(theme) ? theme : "system";
  if (known === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = known;
  localStorage.setItem("causeway-theme", known);
  const button = find("theme");
  setText(button, `Theme: ${known}`);
  button.dataset.next = THEMES[(THEMES.indexOf(known) + 1) % THEMES.length];
}

find("theme").addEventListener("click", (event) => setTheme(event.currentTarget.dataset.next));
find("sign-out").addEventListener("click", () => closeGate(""));
find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setText(find("gate-message"), "");
  setToken(find("token").value);
  openGate();
});
window.addEventListener("hashchange", () => {
  takeTokenFromAddress();
  if (token()) openGate();
});

setTheme(localStorage.getItem("causeway-theme"));
takeTokenFromAddress();
if (token()) openGate();
else closeGate("");
