// The player of one consultation: own controls over a native video, by mouse and by keyboard.

const STEP_S = 5;
const SEEK_STEPS = 1000;

const figure = document.getElementById("player");
const remaining = document.getElementById("remaining");

function pad(number, width = 2) {
  return String(Math.floor(number)).padStart(width, "0");
}

function timeCode(seconds) {
  const whole = Math.max(0, seconds);
  return `${pad(whole / 3600)}:${pad((whole / 60) % 60)}:${pad(whole % 60)}.${pad((whole * 1000) % 1000, 3)}`;
}

function paris(instant, options) {
  return new Intl.DateTimeFormat("fr-FR", { timeZone: "Europe/Paris", ...options }).format(instant);
}

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const FULL = { day: "2-digit", month: "2-digit", year: "numeric", ...CLOCK };

// The server's clock, whatever this machine's says.
const offset = new Date(remaining.dataset.now) - Date.now();
const serverNow = () => new Date(Date.now() + offset);

function countDown(onEnd) {
  const ends = new Date(remaining.dataset.ends);
  const left = document.getElementById("remaining-left");
  const tick = () => {
    const seconds = Math.max(0, Math.round((ends - serverNow()) / 1000));
    left.textContent = seconds > 0 ? `— reste ${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s` : "— terminée";
    remaining.classList.toggle("soon", seconds <= 120);
    if (seconds === 0) onEnd();
    else setTimeout(tick, 1000);
  };
  tick();
}

class Player {
  constructor(root) {
    this.root = root;
    this.video = root.querySelector("video");
    this.seek = root.querySelector("#seek");
    this.speed = root.querySelector("#speed");
    this.screen = root.querySelector("#screen");
    this.frame = 1000 / Number(root.dataset.frameRate);
    this.start = root.dataset.start ? new Date(root.dataset.start) : null;
    this.acts = {
      play: () => this.toggle(),
      back: () => this.move(-STEP_S),
      forward: () => this.move(STEP_S),
      previous: () => this.step(-1),
      next: () => this.step(1),
      loop: () => this.loop(),
      full: () => this.full(),
      faster: () => this.changeSpeed(1),
      slower: () => this.changeSpeed(-1),
    };
    this.keys = {
      " ": "play", ArrowLeft: "back", ArrowRight: "forward", ",": "previous", ".": "next", ";": "next",
      ArrowUp: "faster", ArrowDown: "slower", b: "loop", p: "full",
    };
  }

  listen() {
    this.video.removeAttribute("controls");
    this.root.querySelector("#controls").hidden = false;
    for (const button of this.root.querySelectorAll("[data-act]")) {
      button.addEventListener("click", () => this.acts[button.dataset.act]());
    }
    this.screen.addEventListener("click", () => this.toggle());
    this.speed.addEventListener("change", () => { this.video.playbackRate = Number(this.speed.value); });
    this.seek.addEventListener("input", () => this.seekTo(Number(this.seek.value) / SEEK_STEPS));
    document.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["play", "pause", "ended"]) this.video.addEventListener(name, () => this.showPlaying());
    for (const name of ["timeupdate", "seeked", "loadedmetadata"]) this.video.addEventListener(name, () => this.showTime());
    this.video.addEventListener("error", () => this.broken());
    if (this.video.error) this.broken(); // it may have failed before this module ran
    this.everyFrame();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target;
    if (on.matches("input:not([type=range]), textarea, select")) return;
    if (event.key === " " && on.matches("button, a, summary")) return;
    if (on.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
    const act = this.keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    this.acts[act]();
  }

  toggle() {
    if (this.ended) return;
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  move(seconds) {
    this.video.currentTime = Math.min(Math.max(0, this.video.currentTime + seconds), this.video.duration || 0);
  }

  step(frames) {
    this.video.pause();
    this.move(frames * this.frame);
  }

  seekTo(part) {
    if (Number.isFinite(this.video.duration)) this.video.currentTime = part * this.video.duration;
  }

  changeSpeed(by) {
    const place = Math.min(Math.max(0, this.speed.selectedIndex + by), this.speed.options.length - 1);
    this.speed.selectedIndex = place;
    this.video.playbackRate = Number(this.speed.value);
  }

  loop() {
    this.video.loop = !this.video.loop;
    this.root.querySelector('[data-act="loop"]').setAttribute("aria-pressed", String(this.video.loop));
  }

  full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen().catch(() => {});
  }

  showPlaying() {
    this.root.querySelector("[data-play-word]").textContent = this.video.paused ? "Lire" : "Pause";
    this.root.classList.toggle("is-playing", !this.video.paused);
  }

  showTime() {
    const { currentTime, duration } = this.video;
    this.root.querySelector("#time-code").textContent = timeCode(currentTime);
    if (Number.isFinite(duration) && document.activeElement !== this.seek) {
      this.seek.value = String(Math.round((currentTime / duration) * SEEK_STEPS));
    }
    this.seek.setAttribute("aria-valuetext", timeCode(currentTime));
    if (this.start) {
      const shown = new Date(this.start.getTime() + currentTime * 1000);
      this.root.querySelector("#wall-clock").textContent = `heure caméra ${paris(shown, CLOCK)}`;
    }
  }

  everyFrame() {
    const follow = () => {
      this.showTime();
      this.video.requestVideoFrameCallback(follow);
    };
    if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(follow);
  }

  broken() {
    if (!this.ended) this.trouble("La lecture s'est interrompue. Rechargez la page ; si cela se répète, prévenez le responsable.");
  }

  trouble(text) {
    const place = this.root.querySelector("#trouble");
    place.textContent = text;
    place.hidden = false;
  }

  end() {
    this.ended = true;
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    this.trouble("La consultation est terminée. Pour revoir ces images, indiquez à nouveau un motif.");
  }
}

const player = figure ? new Player(figure) : null;
if (player) {
  player.listen();
  const stamps = figure.querySelectorAll("[data-watermark-time]");
  setInterval(() => {
    const text = paris(serverNow(), FULL).replace(",", "");
    for (const stamp of stamps) stamp.textContent = text;
  }, 1000);
}
countDown(() => player && player.end());
