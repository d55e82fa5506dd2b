// Keeps the dock board up to date: reads the state once a second and changes only what changed.

const EVERY_MS = 1000;
const STALE_AFTER = 3;
const RELOAD_AFTER_MS = 3_600_000;

const board = document.querySelector(".board");
const stale = document.getElementById("board-stale");
const staleTime = document.getElementById("board-stale-time");
const opened = Date.now();
let failures = 0;
let lastGood = new Date();

function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

function showTile(tile) {
  const node = board.querySelector(`[data-bay="${Number(tile.number)}"]`);
  if (!node) return false;
  const tone = `bay ${tile.tone}`;
  if (node.className !== tone) node.className = tone;
  if (node.dataset.phase !== tile.phase) node.dataset.phase = tile.phase;
  for (const part of node.querySelectorAll("[data-text]")) setText(part, String(tile[part.dataset.text] ?? ""));
  const bar = node.querySelector("[data-bar]");
  if (bar.getAttribute("width") !== String(tile.percent)) bar.setAttribute("width", String(tile.percent));
  for (const form of node.querySelectorAll("[data-when]")) {
    const hidden = (form.dataset.when === "occupied") !== tile.occupied;
    if (form.hidden !== hidden) form.hidden = hidden;
  }
  return true;
}

function show(state) {
  const known = board.querySelectorAll("[data-bay]").length;
  const all = state.tiles.map(showTile).every(Boolean);
  setText(document.getElementById("board-time"), state.time);
  setText(document.getElementById("board-hint"), state.hint);
  setText(document.getElementById("board-fleet"), state.fleet);
  const idle = state.tiles.every((tile) => !tile.occupied);
  if (!all || known !== state.tiles.length || (idle && Date.now() - opened > RELOAD_AFTER_MS)) location.reload();
}

function showStale(isStale) {
  if (isStale) setText(staleTime, lastGood.toLocaleTimeString("fr-FR"));
  if (stale.hidden === isStale) stale.hidden = !isStale;
  board.classList.toggle("is-stale", isStale);
}

async function poll() {
  try {
    const answer = await fetch(board.dataset.state, { cache: "no-store", signal: AbortSignal.timeout(4000) });
    if (!answer.ok) throw new Error(String(answer.status));
    show(await answer.json());
    failures = 0;
    lastGood = new Date();
  } catch {
    failures += 1;
  }
  showStale(failures >= STALE_AFTER);
  setTimeout(poll, EVERY_MS);
}

setTimeout(poll, EVERY_MS);
