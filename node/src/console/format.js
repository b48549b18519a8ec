// Turns base units into words for people. Everything takes null for "unknown" and gives null back.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const hundredth = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

export function count(value) {
  return known(value) ? whole.format(value) : null;
}

// Where nobody looks at the source it may hold more than was last seen: how much is left is a least, and the time
// since the target was last known not to be behind says how far it is.
const LOOKS_AWAY = ["blocked", "faulted", "paused", "pausing"];

export function atLeast(state, text) {
  return text !== null && LOOKS_AWAY.includes(state) ? `≥ ${text}` : text;
}

export function behind(state, figures) {
  return duration(LOOKS_AWAY.includes(state) ? figures?.rpo_seconds : figures?.lag_seconds);
}

export function rate(value) {
  if (!known(value)) return null;
  return `${value > 0 && value < 10 ? tenth.format(value) : whole.format(value)}/s`;
}

export function messages(value) {
  if (!known(value)) return null;
  return value === 1 ? "1 message" : `${whole.format(value)} messages`;
}

export function bytes(value) {
  if (!known(value)) return null;
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let amount = value;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${unit > 0 && amount < 10 ? tenth.format(amount) : whole.format(amount)} ${units[unit]}`;
}

// Two units at most: 8 ms, 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 4 d 3 h.
export function duration(seconds) {
  if (!known(seconds)) return null;
  if (seconds <= 0) return "0 s";
  if (seconds < 0.1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 9.95) return `${tenth.format(seconds)} s`;
  const total = Math.round(seconds);
  if (total < 60) return `${total} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => total >= size);
  const shown = [];
  let rest = total;
  for (const [size, name] of parts.slice(first, first + 2)) {
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    if (amount > 0) shown.push(`${amount} ${name}`);
  }
  return shown.join(" ");
}

export function percent(value) {
  return known(value) ? `${Math.floor(value)} %` : null;
}

export function time(milliseconds) {
  return clock.format(new Date(milliseconds));
}

export function hourMinute(milliseconds) {
  return minute.format(new Date(milliseconds));
}

export function dateTime(milliseconds) {
  return full.format(new Date(milliseconds));
}

export function plural(number, thing) {
  return `${whole.format(number)} ${thing}${number === 1 ? "" : "s"}`;
}

// Axis labels: 0, 500, 1k, 2.5k, 1M.
export function compact(value) {
  const units = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const unit = units.find(([size]) => Math.abs(value) >= size);
  return unit ? `${hundredth.format(value / unit[0])}${unit[1]}` : tenth.format(value);
}

// The end of an axis: a round number that is not below the value and whose half is round too.
export function niceCeiling(value) {
  if (!(value > 2)) return 2;
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = power === 1 ? [2, 4, 6, 8, 10] : [2, 3, 4, 5, 6, 8, 10];
  return steps.find((step) => step * power >= value * 0.999999) * power;
}
