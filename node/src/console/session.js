// The token of this tab, and requests with it. The token is kept in sessionStorage: closing the tab forgets it.

const KEY = "causeway-token";
const TIMEOUT = 5000;

// Takes the token from "#token=..." and removes it from the address bar and the history entry.
export function takeTokenFromAddress() {
  const match = /^#token=([^&]+)$/.exec(location.hash);
  if (!match) return;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    setToken(decodeURIComponent(match[1]));
  } catch {
    setToken(match[1]);
  }
}

export function token() {
  return sessionStorage.getItem(KEY);
}

export function setToken(text) {
  sessionStorage.setItem(KEY, text.trim());
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
}

// What went wrong with a request: "unauthenticated", "wait" (with seconds), "refused" or "gone".
export class Trouble extends Error {
  constructor(kind, message, seconds) {
    super(message);
    this.kind = kind;
    this.seconds = seconds;
  }
}

export async function ask(path) {
  const given = token();
  if (!given) throw new Trouble("unauthenticated", "");
  if (!/^[\x21-\x7e]+$/.test(given)) throw new Trouble("unauthenticated", "A token has no spaces and no letters outside ASCII.");
  let response;
  try {
    response = await fetch(path, {
      headers: { Authorization: `Bearer ${given}` },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch {
    throw new Trouble("gone", "The node does not answer.");
  }
  if (response.ok) {
    try {
      return await response.json();
    } catch {
      throw new Trouble("gone", "The node's answer broke off.");
    }
  }
  const message = await response.json().then((body) => body.error.message, () => response.statusText);
  if (response.status === 401) throw new Trouble("unauthenticated", "The node does not know this token.");
  if (response.status === 429) {
    throw new Trouble("wait", message, Number(response.headers.get("Retry-After")) || 5);
  }
  throw new Trouble("refused", message);
}

// Asks again and again: each second while the page is seen, rarely while it is hidden, and with growing pauses while
// the node is gone. One request at a time.
export class Poller {
  constructor(work) {
    this.work = work;
    this.failures = 0;
    this.timer = null;
    this.running = false;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.running) this.soon(0);
    });
  }

  start() {
    this.running = true;
    this.failures = 0;
    this.soon(0);
  }

  stop() {
    this.running = false;
    clearTimeout(this.timer);
  }

  soon(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.turn(), delay);
  }

  async turn() {
    if (this.busy || !this.running) return;
    this.busy = true;
    const wait = await this.work();
    this.busy = false;
    if (!this.running) return;
    this.failures = wait.failed ? this.failures + 1 : 0;
    const pause = wait.seconds ? wait.seconds * 1000 : Math.min(30000, 1000 * 2 ** Math.min(this.failures, 5));
    this.soon(document.hidden ? Math.max(pause, 15000) : this.failures ? pause : 1000);
  }
}
