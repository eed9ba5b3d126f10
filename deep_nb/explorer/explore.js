// Equilibrium propagation in the browser: the models, rules and random numbers of deep_nb for one
// network, and panels to explore it. Notation of the paper: W[i * N + j] is the synapse from i to j,
// S holds the states of the n neurons other than inputs, row after row, one row per sample.
// Equations and sources are in deep_nb/dynamics.py and deep_nb/rules.py; a test compares the two.

// ---------------------------------------------------------------------------------- randomness

/** The stream of numpy.random.RandomState(seed): the same seed gives the same network. */
export class RandomState {
  constructor(seed) {
    this.key = new Uint32Array(624); // MT19937
    this.key[0] = seed;
    for (let i = 1; i < 624; i++) {
      const last = this.key[i - 1];
      this.key[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
    }
    this.position = 624;
    this.spare = null;
  }

  bits() {
    const key = this.key;
    if (this.position === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (key[i] & 0x80000000) | (key[(i + 1) % 624] & 0x7fffffff);
        key[i] = key[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.position = 0;
    }
    let y = key[this.position++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** From U(0, 1). */
  random() {
    const high = this.bits() >>> 5;
    return (high * 67108864 + (this.bits() >>> 6)) / 9007199254740992;
  }

  /** From N(0, 1), by Marsaglia's polar method. */
  normal() {
    if (this.spare !== null) {
      const spare = this.spare;
      this.spare = null;
      return spare;
    }
    let x, y, r2;
    do {
      x = 2 * this.random() - 1;
      y = 2 * this.random() - 1;
      r2 = x * x + y * y;
    } while (r2 >= 1 || r2 === 0);
    const f = Math.sqrt((-2 * Math.log(r2)) / r2);
    this.spare = f * x;
    return f * y;
  }
}

const draws = (count, draw) => Float64Array.from({ length: count }, draw);

// ---------------------------------------------------------------------------------- the problem

/** Whether the targets suit the model: a one-hot one needs class numbers, or one 1 per row. */
export function suits(model, { Y }) {
  if (!model.one_hot) return true;
  if (Y[0].length === 1) return Y.every(([y]) => Number.isInteger(y) && y >= 0 && y < 10000);
  return Y.every((y) => y.every((t) => t === 0 || t === 1) && y.filter((t) => t).length === 1);
}

/** Layout, mask, clamped states X, ranges of the inputs and targets Y of a model (with its hyperparameters) and a task. */
export function problemOf({ model, task, regularized, sparse }) {
  const X = task.X.map((x) => (model.bias_neuron ? [...x, 1] : x));
  let Y = task.Y;
  if (model.one_hot && Y[0].length === 1) {
    const classes = Math.max(2, ...Y.map(([y]) => y + 1));
    Y = Y.map(([y]) => Array.from({ length: classes }, (_, c) => Number(c === y)));
  }
  const inputs = task.X[0].length, N_X = X[0].length, N_Y = Y[0].length;
  const n_hidden = model.hyper.N_H.reduce((a, b) => a + b), n = n_hidden + N_Y, N = N_X + n;
  const names = (letter, count) => Array.from({ length: count }, (_, i) => `${letter}${i}`);
  const bias = model.bias_neuron ? ["bias"] : [];
  const labels = [...names("x", inputs), ...bias, ...names("h", n_hidden), ...names("y", N_Y)];
  const mask = Uint8Array.from({ length: N * N }, (_, k) => {
    const i = Math.floor(k / N), j = k % N;
    return i !== j && j >= N_X;
  });
  const ranges = X[0].slice(0, inputs).map((_, i) => {
    const column = X.map((x) => x[i]);
    return [Math.min(0, ...column), Math.max(1, ...column)];
  });
  const { hyper } = model;
  return { model, hyper, regularized, sparse, X, Y, inputs, ranges, N_X, N_Y, n, N, labels, mask };
}

// ---------------------------------------------------------------------------------- dynamics

export const ACTIVATIONS = {
  hard_sigmoid: (x) => (x < 0 ? 0 : x > 1 ? 1 : x),
  sigmoid: (x) => 0.5 * (Math.tanh(0.5 * x) + 1),
  tanh: Math.tanh,
};

/** ds_j/dt = Σ_i A[j * n + i] s_i + drive_j − decay_j s_j over the neurons other than inputs. */
export function freeField(problem, W, b, X = problem.X) {
  const { model, N_X, n, N } = problem;
  const A = new Float64Array(n * n), decay = new Float64Array(n);
  const drive = new Float64Array(X.length * n);
  for (let j = 0; j < n; j++) {
    let outgoing = 0;
    for (let k = 0; k < N; k++) {
      const w = W[(N_X + j) * N + k];
      outgoing += model.absolute_outflow ? Math.abs(w) : w;
    }
    decay[j] = model.leak + model.outflow * outgoing;
    for (let i = 0; i < n; i++) A[j * n + i] = W[(N_X + i) * N + N_X + j];
    for (let m = 0; m < X.length; m++) {
      drive[m * n + j] = b[N_X + j];
      for (let i = 0; i < N_X; i++) drive[m * n + j] += X[m][i] * W[i * N + N_X + j];
    }
  }
  return { A, drive, decay };
}

/** The field with β (y − s) on the outputs. */
export function nudged({ A, drive, decay }, beta, Y) {
  const n = decay.length, N_Y = Y[0].length;
  const field = { A, drive: drive.slice(), decay: decay.slice() };
  for (let c = 0; c < N_Y; c++) {
    field.decay[n - N_Y + c] += beta;
    for (let m = 0; m < Y.length; m++) field.drive[m * n + n - N_Y + c] += beta * Y[m][c];
  }
  return field;
}

/** ds_j/dt of the sample whose states begin at `row`. */
function speed(A, drive, decay, n, S, row, j) {
  let ds = drive[row + j] - decay[j] * S[row + j];
  for (let i = 0; i < n; i++) ds += A[j * n + i] * S[row + i];
  return ds;
}

/**
 * Take T steps s ← ρ(s + dt ds/dt) from the states S, and return the last ones. Clamped neurons
 * keep theirs. After each step, `visit(t, states, before)` is called, and ends the phase with true.
 */
export function relax(field, S, { dt, T, activation, clamped }, visit) {
  const { A, drive, decay } = field, n = decay.length, rho = ACTIVATIONS[activation];
  const moving = draws(n, (_, j) => Number(!clamped?.[j]));
  let states = S.slice(), before = S.slice();
  for (let t = 1; t <= T; t++) {
    [states, before] = [before, states];
    for (let row = 0; row < S.length; row += n)
      for (let j = 0; j < n; j++) {
        const s = before[row + j];
        states[row + j] = moving[j] ? rho(s + dt * speed(A, drive, decay, n, before, row, j)) : s;
      }
    if (visit?.(t, states, before)) break;
  }
  return states;
}

// ---------------------------------------------------------------------------------- rules

/** Rules that need the hard sigmoid. */
const CLIPPED = ["onesided", "asymep", "adjoint"];

/** A rule returns ΔW and Δb after a free phase with the last states `free`. */
export const RULES = {
  stdp(lesson) {
    const { problem, free, field } = lesson;
    const { n, N, N_X, X, hyper } = problem, M = X.length;
    const dW = new Float64Array(N * N), db = new Float64Array(N), v = new Float64Array(n);
    lesson.nudge(field, hyper.beta, (t, S, before) => {
      for (let m = 0; m < M; m++) {
        for (let j = 0; j < n; j++) {
          const s = S[m * n + j];
          v[j] = hyper.beta_0 * s + hyper.beta_1 * (s - before[m * n + j]);
          db[N_X + j] += v[j] / (M * hyper.T2);
        }
        for (let i = 0; i < N; i++) {
          const s = (i < N_X ? X[m][i] : S[m * n + i - N_X]) / (M * hyper.T2);
          for (let j = 0; j < n; j++) dW[i * N + N_X + j] += s * v[j];
        }
      }
    });
    return { dW, db };
  },

  contrastive(lesson) {
    const { problem, free, field } = lesson, { beta } = problem.hyper;
    const S = lesson.nudge(field, beta);
    return hebbian(problem, free, S.map((s, k) => (s - free[k]) / beta));
  },

  centered(lesson) {
    return symmetric(lesson, lesson.field);
  },

  onesided(lesson) {
    const { problem, W, free, field } = lesson, { beta } = problem.hyper;
    const plus = lesson.nudge(transposed(field, free), beta);
    return descent(problem, W, free, plus.map((s, k) => (s - free[k]) / beta));
  },

  asymep(lesson) {
    return symmetric(lesson, transposed(lesson.field, lesson.free));
  },

  adjoint(lesson) {
    const { problem, field, free } = lesson, { n, N_Y, Y } = problem;
    const delta = new Float64Array(free.length);
    for (let m = 0; m < Y.length; m++) {
      const { A, drive, decay } = field;
      const system = A.map((_, k) => A[(k % n) * n + Math.floor(k / n)]);
      const pull = new Float64Array(n);
      for (let j = 0; j < n; j++) {
        system[j * n + j] -= decay[j];
        if (j >= n - N_Y) pull[j] = free[m * n + j] - Y[m][j - n + N_Y];
      }
      for (let j = 0; j < n; j++) {
        const s = free[m * n + j], ds = speed(A, drive, decay, n, free, m * n, j);
        if ((s <= 0 && ds < 0) || (s >= 1 && ds > 0)) {
          for (let k = 0; k < n; k++) system[j * n + k] = system[k * n + j] = -Number(j === k);
          pull[j] = 0; // saturated
        }
      }
      delta.set(leastSquares(system, pull, n), m * n);
    }
    return descent(problem, lesson.W, free, delta);
  },
};

/** F(s) − 2 A (s − s*), A = (J − Jᵀ) / 2: its linear part is Jᵀ, its rest point s*. */
export function transposed({ A, drive, decay }, S) {
  const n = decay.length, field = { A: new Float64Array(n * n), drive: drive.slice(), decay };
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      field.A[j * n + i] = A[i * n + j];
      const difference = A[j * n + i] - A[i * n + j];
      for (let at = 0; at < S.length; at += n) field.drive[at + j] += difference * S[at + i];
    }
  return field;
}

function symmetric(lesson, field) {
  const { problem, W, free } = lesson, { beta } = problem.hyper;
  const plus = lesson.nudge(field, beta), minus = lesson.nudge(field, -beta);
  return descent(problem, W, free, plus.map((s, k) => (s - minus[k]) / (2 * beta)));
}

/** ΔW_ij = Σ_m s_i δ_j / M and Δb_j = Σ_m δ_j / M. */
function hebbian({ X, N_X, n, N }, S, delta) {
  const M = X.length, dW = new Float64Array(N * N), db = new Float64Array(N);
  for (let m = 0; m < M; m++)
    for (let j = 0; j < n; j++) {
      const d = delta[m * n + j] / M;
      db[N_X + j] += d;
      for (let i = 0; i < N; i++) dW[i * N + N_X + j] += (i < N_X ? X[m][i] : S[m * n + i - N_X]) * d;
    }
  return { dW, db };
}

/** ΔW_ij = Σ_m s_i (δ_j − γ δ_i) / M, the last term with sign(W_ij) if the outflow is Σ|W|. */
function descent(problem, W, S, delta) {
  const { model, X, N_X, n, N } = problem, change = hebbian(problem, S, delta);
  for (let i = 0; i < n; i++) {
    let own = 0;
    for (let m = 0; m < X.length; m++) own += (S[m * n + i] * delta[m * n + i]) / X.length;
    for (let k = (N_X + i) * N + N_X; k < (N_X + i + 1) * N; k++)
      change.dW[k] -= model.outflow * own * (model.absolute_outflow ? Math.sign(W[k]) : 1);
  }
  return change;
}

/** The solution x of A x = y of least norm, by one-sided Jacobi rotations (Hestenes 1958). */
function leastSquares(A, y, n) {
  const column = (k) => Float64Array.from({ length: n }, (_, i) => A[i * n + k]);
  const U = Array.from({ length: n }, (_, k) => column(k));
  const V = Array.from({ length: n }, (_, k) => draws(n, (_, i) => Number(i === k)));
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
    turned = false;
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const pp = dot(U[p], U[p]), qq = dot(U[q], U[q]), pq = dot(U[p], U[q]);
        if (Math.abs(pq) <= 1e-16 * Math.sqrt(pp * qq)) continue;
        turned = true;
        const zeta = (qq - pp) / (2 * pq);
        const tan = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cos = 1 / Math.hypot(1, tan), sin = cos * tan;
        for (const [a, b] of [[U[p], U[q]], [V[p], V[q]]])
          for (let i = 0; i < n; i++)
            [a[i], b[i]] = [cos * a[i] - sin * b[i], sin * a[i] + cos * b[i]];
      }
  }
  const squares = U.map((u) => dot(u, u)), cut = 1e-24 * Math.max(...squares);
  const x = new Float64Array(n);
  for (let k = 0; k < n; k++)
    if (squares[k] > cut) {
      const weight = dot(U[k], y) / squares[k];
      for (let i = 0; i < n; i++) x[i] += weight * V[k][i];
    }
  return x;
}

// ---------------------------------------------------------------------------------- training

/** One network; `epoch()` trains it for one epoch and returns its errors before the change. */
export class Network {
  constructor(setting) {
    this.problem = problemOf(setting);
    this.stream = new RandomState(setting.seed);
    const { N, mask, model } = this.problem;
    this.W = draws(N * N, (_, k) => (0.05 * this.stream.normal()) * mask[k]);
    if (model.learned_bias) draws(N, () => this.stream.normal()); // drawn and dropped, as published
    this.b = new Float64Array(N);
    this.mse = [];
    this.errors = [];
    this.diverged = false;
  }

  epoch() {
    const { problem, W, b, stream } = this, { model, hyper, X, Y, N, n, mask } = problem;
    const start = draws(X.length * n, () => 0.1 * stream.random());
    const field = freeField(problem, W, b), phase = { dt: hyper.dt, activation: model.activation };
    const free = relax(field, start, { ...phase, T: hyper.T1 });
    const nudge = (of, beta, visit) => relax(nudged(of, beta, Y), free, { ...phase, T: hyper.T2 }, visit);
    const { dW, db } = RULES[model.rule]({ problem, W, field, free, nudge });
    const reg = problem.regularized ? hyper.reg_W : 0;
    const next = W.map((w, k) => (mask[k] ? w + hyper.dt_W * dW[k] - reg * Math.sign(w) : 0));
    const bias = model.learned_bias ? b.map((value, j) => value + hyper.dt_W * db[j]) : b;
    this.diverged = ![...next, ...bias, ...free].every(Number.isFinite);
    if (this.diverged) return;
    if (problem.sparse) prune(next, draws(N * N, () => stream.random()), N, hyper);
    Object.assign(this, { W: next, b: bias, free });
    this.mse.push(meanSquaredError(problem, free));
    this.errors.push(misclassified(problem, free).length);
  }
}

/** Set each weak synapse to 0 whose draw falls below its probability. */
function prune(W, draw, N, { tol_W, temp }) {
  const p = W.map((w) => Math.exp(-Math.abs(w) / temp));
  for (let j = 0; j < N; j++) {
    let total = 0;
    for (let i = 0; i < N; i++) total += p[i * N + j];
    for (let k = j; k < N * N; k += N)
      if (Math.abs(W[k]) <= tol_W && draw[k] < p[k] / total) W[k] = 0;
  }
}

function meanSquaredError({ Y, N_Y, n }, S) {
  const squares = Y.map((y, m) => y.reduce((sum, t, c) => sum + (S[(m + 1) * n - N_Y + c] - t) ** 2, 0));
  return squares.reduce((a, b) => a + b) / 2 / Y.length;
}

/** The label of outputs: the largest one's number if one-hot, else 1 for each of at least 0.5. */
function label(model, y) {
  return model.one_hot ? y.indexOf(Math.max(...y)) : y.map((s) => Number(s >= 0.5)).join();
}

/** Numbers of the samples whose label is wrong. */
function misclassified({ model, Y, N_Y, n }, S) {
  const wrong = (y, m) => label(model, [...S.slice((m + 1) * n - N_Y, (m + 1) * n)]) !== label(model, y);
  return Y.map((_, m) => m).filter((m) => wrong(Y[m], m));
}

// ---------------------------------------------------------------------------------- by hand

/** Factor by which a step shrinks the ℓ₁ distance of two states: below 1 it contracts. */
export function eulerFactor({ A, decay }, dt, clamped = []) {
  const n = decay.length;
  let largest = 0;
  for (let j = 0; j < n; j++) {
    if (clamped[j]) continue;
    let sum = Math.abs(1 + dt * (A[j * n + j] - decay[j]));
    for (let i = 0; i < n; i++) if (i !== j && !clamped[i]) sum += dt * Math.abs(A[i * n + j]);
    largest = Math.max(largest, sum);
  }
  return largest;
}

/**
 * Both phases of one sample x with the target y and β: `states` by step, the energy `V`
 * = ‖s − s*‖₁ of each step, its `bound` V(0) qᵗ where q < 1, and `residual` ‖Δs / dt‖².
 */
export function follow(network, { x, y, beta, start, clamped }) {
  const { problem, W, b } = network, { hyper, model, n, X } = problem;
  const input = [...x, ...X[0].slice(x.length)], T = [hyper.T1, hyper.T2];
  const field = freeField(problem, W, b, [input]), steps = T[0] + T[1] + 1;
  const path = { states: new Float64Array(steps * n), factors: [], rest: [] };
  for (const name of ["V", "bound", "residual"]) path[name] = new Float64Array(steps).fill(NaN);
  path.states.set(start);
  const phase = { dt: hyper.dt, activation: model.activation, clamped };
  function moved(S, before) {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += ((S[j] - before[j]) / hyper.dt) ** 2;
    return sum;
  }
  function distance(t, rest) {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += Math.abs(path.states[t * n + j] - rest[j]);
    return sum;
  }
  let S = Float64Array.from(start), first = 0;
  [field, nudged(field, beta, [y])].forEach((of, k) => {
    S = relax(of, S, { ...phase, T: T[k] }, (t, states, before) => {
      path.states.set(states, (first + t) * n);
      path.residual[first + t] = moved(states, before);
    });
    let atRest = false;
    const resting = (t, states, before) => (atRest = moved(states, before) < 1e-24);
    const rest = relax(of, S, { ...phase, T: 5000 }, resting);
    const q = eulerFactor(of, hyper.dt, clamped);
    path.factors.push(q);
    path.rest.push(atRest ? rest : null);
    if (atRest)
      for (let t = first + k; t <= first + T[k]; t++) {
        path.V[t] = distance(t, rest);
        if (q < 1) path.bound[t] = distance(first, rest) * q ** (t - first);
      }
    first += T[k];
  });
  return path;
}

/** The score of an answer: the output's state or, one-hot, (1 + y1 − y0) / 2. */
export function score({ model }, y) {
  return model.one_hot ? (1 + y[1] - y[0]) / 2 : y[0];
}

/** Whether a task has a decision map: one or two inputs, and one label. */
const hasMap = ({ inputs, model, N_Y }) => inputs <= 2 && N_Y === 1 + model.one_hot;

/**
 * Scores after the free phase on a grid of size² inputs in their ranges, or of `size` with one: a
 * generator that yields after each input, so that the map can be settled in parts, and returns all.
 */
export function* decisionMap(network, start, clamped, size) {
  const { problem, W, b } = network, { hyper, model, inputs, ranges, n, N_Y, X } = problem;
  const cell = (k, i) => Math.floor(k / size ** i) % size;
  const rows = Array.from({ length: size ** inputs }, (_, k) => [
    ...ranges.map(([low, high], i) => low + ((high - low) * cell(k, i)) / (size - 1)),
    ...X[0].slice(inputs),
  ]);
  const { A, drive, decay } = freeField(problem, W, b, rows), S = Float64Array.from(start), scores = [];
  const phase = { dt: hyper.dt, T: hyper.T1, activation: model.activation, clamped };
  const atRest = (t, states, before) => states.every((s, j) => s === before[j]);
  for (let at = 0; at < drive.length; at += n) {
    const end = relax({ A, drive: drive.subarray(at, at + n), decay }, S, phase, atRest);
    scores.push(score(problem, end.slice(-N_Y)));
    yield;
  }
  return scores;
}

// ---------------------------------------------------------------------------------- drawing

/** A canvas of CSS pixels with a text alternative, and a caption that says what to see. */
class Panel {
  constructor(title, hint) {
    this.canvas = h("canvas", { role: "img" });
    this.caption = h("figcaption", {}, h("b", {}, title), " ", h("span", {}, hint));
    this.element = h("figure", {}, this.caption, this.canvas);
    this.title = title;
  }

  /** Clear the canvas, and fit it to its place. */
  begin(colours) {
    const { clientWidth: width, clientHeight: height } = this.canvas, scale = devicePixelRatio;
    Object.assign(this, { width, height, colours, ctx: this.canvas.getContext("2d") });
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.ctx.scale(scale, scale);
    this.ctx.font = "11px system-ui, sans-serif";
    this.ctx.lineWidth = 1.5;
  }

  describe(text) {
    const label = `${this.title}: ${text}`;
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
  }

  text(text, x, y, colour = "text", align = "left") {
    Object.assign(this.ctx, { fillStyle: this.colours[colour], textAlign: align });
    this.ctx.fillText(text, x, y);
  }

  /** Axes from 0 to `last` and from `low` to `high`, or their powers of ten. */
  axes(last, low, high, { xlabel, log = false, ticks }) {
    const left = 40, right = this.width - 34, top = 8, bottom = this.height - 30;
    const value = log ? Math.log10 : (v) => v;
    this.x = (v) => left + ((right - left) * v) / last;
    this.y = (v) => bottom - ((bottom - top) * (Math.min(Math.max(value(v), low), high) - low)) / (high - low);
    this.ctx.strokeStyle = this.colours.faint;
    this.ctx.lineWidth = 1;
    for (const tick of ticks) {
      const at = log ? 10 ** tick : tick;
      this.segment(left, this.y(at), right, this.y(at));
      this.text(log ? `10${superscript(tick)}` : String(tick), left - 5, this.y(at) + 4, "text", "right");
    }
    for (const x of [0, Math.round(last / 2), last]) this.text(String(x), this.x(x), bottom + 13, "text", "center");
    this.text(xlabel, (left + right) / 2, bottom + 26, "text", "center");
    this.ctx.lineWidth = 1.5;
  }

  segment(x0, y0, x1, y1) {
    this.ctx.beginPath();
    this.ctx.moveTo(x0, y0);
    this.ctx.lineTo(x1, y1);
    this.ctx.stroke();
  }

  /** The line through at(first) … at(last), in about 300 pieces; gaps where it is not finite. */
  line([first, last], at, colour, { dash = [], width = 1.5 } = {}) {
    const { ctx } = this, stride = Math.max(1, Math.ceil((last - first) / 300));
    ctx.strokeStyle = this.colours[colour];
    ctx.lineWidth = width;
    ctx.setLineDash(dash);
    ctx.beginPath();
    let drawing = false;
    for (let k = first; k <= last; k = k === last ? k + 1 : Math.min(k + stride, last)) {
      const value = at(k), there = Number.isFinite(value);
      if (there) ctx[drawing ? "lineTo" : "moveTo"](this.x(k), this.y(value));
      drawing = there;
    }
    ctx.stroke();
    ctx.setLineDash([]);
    if (first === last) this.dot(this.x(first), this.y(at(first)), colour);
  }

  dot(x, y, colour) {
    this.ctx.fillStyle = this.colours[colour];
    this.ctx.beginPath();
    this.ctx.arc(x, y, 2.5, 0, 7);
    this.ctx.fill();
  }
}

const superscript = (k) => String(k).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻");

/** A number in a few characters. */
const brief = (v) => (v !== 0 && (Math.abs(v) < 0.001 || Math.abs(v) >= 10000) ? v.toExponential(1) : String(+v.toPrecision(3)));

/** An element with properties, `on…` listeners and children. */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A word of a legend in the colour of its line. */
const ink = (colour, text) => h("span", { style: `color: var(--${colour})` }, text);

/** Panels that inputs and β set by hand change. */
const HAND = ["states", "energy", "network", "map"];

const COLOURS = ["text", "faint", "absent", "blue", "vermilion", "green", "paper"];

/** Hyperparameters with a slider: name, symbol, smallest, largest, and whether it is logarithmic. */
const SLIDERS = [
  ["beta", "β", 0.01, 100, true],
  ["dt_W", "dt_W", 0.01, 1000, true],
  ["dt", "dt", 0.01, 1, true],
  ["T1", "T1", 10, 3000],
  ["T2", "T2", 10, 3000],
];

/** Hyperparameters with a field under "More": name, smallest and largest. */
const FIELDS = [
  ["n_epochs", 1, 1e6],
  ["beta_0", -1e100, 1e100],
  ["beta_1", -1e100, 1e100],
  ["reg_W", 0, 1e100],
  ["tol_W", 0, 1e100],
  ["temp", 1e-6, 1e100],
];

/**
 * Show the explorer in `root`; `changed` hears of each new setting. Returns how to `adopt` another
 * setting, and how to `end`.
 */
export function mount(root, catalogue, given, changed = () => {}) {
  let setting = structuredClone(given);
  const hand = {}; // inputs x, target y, β, start states and clamped neurons
  const bound = ink("green", "bound"), residual = ink("text", "residual ‖Δs/dt‖²");
  const legend = h("span", {}, ink("blue", "V₁ = ‖s − s*‖₁"), ", ", bound, ", ", residual);
  const panels = {
    states: new Panel("States", "free phase, then nudged phase"),
    energy: new Panel("Energy", legend),
    network: new Panel("Network", "click a neuron to clamp it; fill: state"),
    map: new Panel("Decision map", "drag the cross; target ● 1, ○ 0"),
    weights: new Panel("Weights", "from row to column"),
    error: new Panel("Error", "MSE of the free phase over epochs"),
  };
  let network, path, colours, running = false, frame = 0;
  let map = [], unfinished = [], slice = 0; // the map that is shown, those to come, and their timer

  // Controls -------------------------------------------------------------------------------

  const option = (name) => h("option", {}, name);
  const labelled = (text, control, shown = "") => h("label", {}, h("span", {}, text), control, shown);

  function select(text, names, change) {
    const control = h("select", { onchange: () => change(control.value) }, ...names.map(option));
    return { control, element: labelled(text, control) };
  }

  /** A native slider, which keys move; its value is kept exactly until a person moves it. */
  function slider(text, low, high, log, change, step) {
    const shown = h("span", { class: "value", "aria-hidden": "true" }); // as aria-valuetext
    const control = h("input", { type: "range" });
    let to, from;
    /** Fit the slider to a first value: a logarithmic one is linear for a value of 0 or below. */
    const fit = (value) => {
      const linear = !log || value <= 0;
      [to, from] = linear ? [Number, Number] : [Math.log10, (v) => +(10 ** v).toPrecision(3)];
      let ends = [low, high];
      if (log && linear) ends = value ? [2 * value, value / 50] : [0, 1];
      const [min, max] = ends.map(to).sort((a, b) => a - b);
      Object.assign(control, { min, max, step: step ?? (linear ? (max - min) / 100 : 0.01) });
    };
    fit(high);
    const write = (value) => {
      shown.textContent = brief(value);
      control.setAttribute("aria-valuetext", brief(value));
    };
    control.addEventListener("input", () => {
      write(from(control.value));
      change(from(control.value));
    });
    const show = (value) => {
      control.value = to(value);
      write(value);
    };
    return { control, fit, show, element: labelled(text, control, shown) };
  }

  function checkbox(text, name) {
    const control = h("input", { type: "checkbox" });
    control.addEventListener("change", () => {
      setting[name] = control.checked;
      configure();
    });
    return { name, control, element: labelled(text, control) };
  }

  const models = select("Model", Object.keys(catalogue.models), (name) => {
    setting.model = structuredClone(catalogue.models[name]);
    reset();
  });
  const tasks = select("Task", Object.keys(catalogue.tasks), (name) => {
    setting.task = { name, ...catalogue.tasks[name] };
    reset();
  });
  const rules = select("Rule", catalogue.rules, (name) => {
    setting.model.rule = name;
    configure();
  });
  const activations = select("Activation ρ", catalogue.activations, (name) => {
    setting.model.activation = name;
    if (name !== "hard_sigmoid" && CLIPPED.includes(setting.model.rule))
      setting.model.rule = "centered";
    configure();
  });
  const hidden = slider("Hidden neurons", 1, 20, false, (count) => {
    setting.model.hyper.N_H = [count];
    reset();
  }, 1);
  const seed = h("input", { type: "number", min: "0", max: "4294967295", step: "1" });
  seed.addEventListener("change", () => {
    setting.seed = Math.min(Math.max(Math.floor(Number(seed.value)) || 0, 0), 2 ** 32 - 1);
    reset();
  });
  const leak = slider("Leak λ", 0, 2, false, (value) => {
    setting.model.leak = value;
    configure();
  }, 0.01);
  const sliders = SLIDERS.map(([name, symbol, low, high, log]) => {
    const made = slider(symbol, low, high, log, (value) => {
      setting.model.hyper[name] = value;
      if (name === "beta") takeBeta();
      configure();
    }, log ? undefined : 10);
    made.element.title = catalogue.about[name];
    return { name, ...made };
  });
  /** A number of some settings, written into them when it is one of those allowed. */
  function field(name, settings, low, high) {
    const step = name === "n_epochs" ? "1" : "any";
    const control = h("input", { type: "number", min: String(low), max: String(high), step, required: true });
    const show = () => (control.value = settings()[name]);
    control.addEventListener("change", () => {
      if (control.checkValidity()) settings()[name] = Number(control.value);
      configure();
    });
    const element = labelled(name, control);
    element.title = catalogue.about[name] ?? "";
    return { show, element };
  }
  const fields = [
    field("outflow", () => setting.model, 0, 1e100),
    ...FIELDS.map(([name, low, high]) => field(name, () => setting.model.hyper, low, high)),
  ];
  const absolute = h("input", { type: "checkbox" });
  absolute.addEventListener("change", () => {
    setting.model.absolute_outflow = absolute.checked;
    configure();
  });
  const more = h("details", {}, h("summary", {}, "More"),
    labelled("Outflow Σ|W|", absolute), ...fields.map((made) => made.element));
  const boxes = [checkbox("L1 decay", "regularized"), checkbox("Pruning", "sparse")];
  const byHand = h("div", {}), betaByHand = h("div", {}), neurons = h("div", { class: "neurons" });
  const start = h("button", { type: "button", onclick: () => { run(!running); refresh(); } }, "Start");
  const status = h("p", { role: "status" });
  const group = (name, ...children) => h("fieldset", {}, h("legend", {}, name), ...children);
  const seedLabel = labelled("Seed", seed);
  const controls = h("div", { class: "controls" },
    h("div", { class: "buttons" }, start,
      h("button", { type: "button", onclick: () => { run(false); train(); refresh(); } }, "One epoch"),
      h("button", { type: "button", onclick: () => reset() }, "Reset")),
    status,
    group("Network", models.element, tasks.element, hidden.element, seedLabel),
    group("Learning", rules.element, activations.element, leak.element,
      ...[...sliders, ...boxes].map((made) => made.element), more),
    group("By hand", byHand, betaByHand, neurons));
  const probes = COLOURS.map((name) => h("i", { hidden: true, style: `color: var(--${name})` }));
  const view = h("div", { class: "panels" }, ...Object.values(panels).map((p) => p.element));
  root.classList.add("deep-nb");
  root.replaceChildren(h("div", { class: "layout" }, controls, view), ...probes);

  // What the controls do -------------------------------------------------------------------

  /** Begin anew with the weights of the seed. */
  function reset() {
    run(false);
    map = []; // of another task, perhaps
    network = new Network(setting);
    const { n, ranges } = network.problem;
    const stream = new RandomState(setting.seed); // the start of deep_nb.trajectory
    const drawn = draws(n, () => 0.1 * stream.random());
    Object.assign(hand, {
      drawn,
      start: drawn.slice(),
      x: ranges.map(([low, high], i) => (i === 0 && ranges.length === 2 ? low : high)),
      clamped: new Uint8Array(n),
    });
    takeBeta();
    for (const { name, fit } of sliders) fit(setting.model.hyper[name]);
    hand.inputs = hand.x.map((x, i) => {
      const change = (value) => { hand.x[i] = value; redraw(HAND); };
      const made = slider(`Input x${i}`, ...ranges[i], false, change);
      made.show(x);
      return made;
    });
    byHand.replaceChildren(...hand.inputs.map((s) => s.element));
    hand.buttons = Array.from(hand.clamped, (_, j) => h("button", { type: "button", onclick: () => clamp(j) }));
    neurons.replaceChildren(...hand.buttons);
    configure();
  }

  /** Set β by hand to that of learning; its slider goes from 0 to twice that. */
  function takeBeta() {
    hand.beta = setting.model.hyper.beta;
    const made = slider("β by hand", 0, 2 * hand.beta, false, (value) => { hand.beta = value; redraw(HAND); });
    made.show(hand.beta);
    betaByHand.replaceChildren(made.element);
  }

  function adopt(given) {
    if (JSON.stringify(given) === JSON.stringify(setting)) return;
    setting = structuredClone(given);
    reset();
  }

  /** Go on with these weights and the changed setting. */
  function configure() {
    network.problem = problemOf(setting);
    const { model } = setting;
    [models.control.value, tasks.control.value] = [model.name, setting.task.name];
    [rules.control.value, activations.control.value] = [model.rule, model.activation];
    for (const option of models.control.options)
      option.disabled = !suits(catalogue.models[option.value], setting.task);
    for (const option of tasks.control.options)
      option.disabled = !suits(model, catalogue.tasks[option.value]);
    for (const option of rules.control.options)
      option.disabled = model.activation !== "hard_sigmoid" && CLIPPED.includes(option.value);
    hidden.show(network.problem.n - network.problem.N_Y);
    seed.value = setting.seed;
    leak.show(model.leak);
    for (const { name, show } of sliders) show(model.hyper[name]);
    for (const { show } of fields) show();
    absolute.checked = model.absolute_outflow;
    for (const { name, control } of boxes) control.checked = setting[name];
    changed(structuredClone(setting));
    refresh();
  }

  /** Clamp a neuron at 1, then at 0, then let it move again. */
  function clamp(j) {
    if (!hand.clamped[j]) [hand.clamped[j], hand.start[j]] = [1, 1];
    else if (hand.start[j] === 1) hand.start[j] = 0;
    else [hand.clamped[j], hand.start[j]] = [0, hand.drawn[j]];
    refresh();
  }

  function train() {
    network.epoch();
    if (!network.diverged && network.mse.length !== setting.model.hyper.n_epochs) return;
    run(false);
    remap();
  }

  function run(on) {
    running = on;
    start.textContent = on ? "Pause" : "Start";
    status.setAttribute("aria-live", on ? "off" : "polite");
    cancelAnimationFrame(frame);
    if (on) frame = requestAnimationFrame(tick);
  }

  /** Train for as long as a frame of the screen allows, and draw. */
  function tick() {
    const until = performance.now() + 8;
    do train(); while (running && performance.now() < until);
    if (!unfinished.length) remap();
    redraw();
    if (running) frame = requestAnimationFrame(tick);
  }

  /** Draw everything at once, and the decision map when it has settled. */
  function refresh() {
    remap();
    redraw();
  }

  /** Begin the decision map anew: a coarse one first, unless it changes with each epoch. */
  function remap() {
    const sizes = hasMap(network.problem) ? (running ? [13] : [5, 19]) : [];
    unfinished = sizes.map((size) => decisionMap(network, hand.start, hand.clamped, size));
    clearTimeout(slice);
    slice = setTimeout(settle);
  }

  /** Settle the decision map for some milliseconds, then let others act; draw it when it is whole. */
  function settle() {
    const until = performance.now() + 4;
    while (unfinished.length && performance.now() < until) {
      const { done, value } = unfinished[0].next();
      if (!done) continue;
      map = value;
      unfinished.shift();
      draw("map");
    }
    if (unfinished.length) slice = setTimeout(settle);
  }

  // What is drawn --------------------------------------------------------------------------

  /** The target of the sample that is nearest to the inputs set by hand. */
  function target() {
    const { X, Y } = network.problem;
    const away = X.map((x) => hand.x.reduce((sum, value, i) => sum + (value - x[i]) ** 2, 0));
    return Y[away.indexOf(Math.min(...away))];
  }

  function redraw(names = Object.keys(panels)) {
    const started = performance.now();
    colours = Object.fromEntries(COLOURS.map((name, k) => [name, getComputedStyle(probes[k]).color]));
    hand.y = target();
    path = follow(network, { ...hand, y: hand.y });
    const { n, N_X, labels } = network.problem;
    hand.buttons.forEach((button, j) => {
      const held = hand.clamped[j], name = labels[N_X + j];
      button.textContent = held ? `${name} = ${hand.start[j]}` : name;
      button.setAttribute("aria-pressed", String(Boolean(held)));
      button.setAttribute("aria-label", held ? `${name}, clamped at ${hand.start[j]}` : `${name}, free`);
    });
    names.forEach(draw);
    const { mse, errors } = network, epochs = mse.length, M = network.problem.X.length;
    status.textContent = network.diverged
      ? `Diverged in epoch ${epochs}: reset, or learn more slowly`
      : epochs ? `Epoch ${epochs} · MSE ${brief(mse.at(-1))} · ${M - errors.at(-1)} of ${M} correct`
        : "Not trained yet";
    root.dataset.milliseconds = (performance.now() - started).toFixed(1);
  }

  function draw(name) {
    const panel = panels[name];
    panel.begin(colours);
    if (panel.width) DRAW[name](panel, { network, path, hand, map, bound, busy: unfinished.length > 0 });
  }

  // Pointers -------------------------------------------------------------------------------

  const place = (event, panel) => {
    const box = panel.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  panels.network.canvas.addEventListener("click", (event) => {
    const [x, y] = place(event, panels.network), { N_X, inputs, ranges } = network.problem;
    const away = panels.network.places.map(([a, b]) => Math.hypot(a - x, b - y));
    const k = away.indexOf(Math.min(...away));
    if (away[k] > 18) return;
    if (k >= N_X) clamp(k - N_X);
    else if (k < inputs) setInputs({ [k]: ranges[k][Number(hand.x[k] < (ranges[k][0] + ranges[k][1]) / 2)] });
  });
  const drag = (event) => {
    const { size, left, top } = panels.map, [x, y] = place(event, panels.map);
    if (!event.buttons || !size || !hasMap(network.problem)) return;
    const within = (v) => Math.round(100 * Math.min(Math.max(v, 0), 1)) / 100;
    const shares = [within((x - left) / size), within(1 - (y - top) / size)];
    setInputs(network.problem.ranges.map(([low, high], i) => +(low + (high - low) * shares[i]).toPrecision(6)));
  };
  for (const kind of ["pointerdown", "pointermove"]) panels.map.canvas.addEventListener(kind, drag);

  function setInputs(values) {
    Object.assign(hand.x, values);
    hand.inputs.forEach((made, i) => made.show(hand.x[i]));
    redraw(HAND);
  }

  const again = () => redraw(), next = () => requestAnimationFrame(again);
  const resized = new ResizeObserver(again), themed = new MutationObserver(next);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  reset();
  resized.observe(view);
  // JupyterLab hides all until the next frame when its theme changes.
  themed.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  dark.addEventListener("change", again);
  const end = () => {
    cancelAnimationFrame(frame);
    clearTimeout(slice);
    resized.disconnect();
    themed.disconnect();
    dark.removeEventListener("change", again);
  };
  return { adopt, end };
}

/** Colour of a signed value in [−1, 1]: blue below 0, vermilion above. */
function signed(panel, value) {
  const colour = panel.colours[value < 0 ? "blue" : "vermilion"];
  return `color-mix(in srgb, ${colour} ${Math.round(100 * Math.min(Math.abs(value), 1))}%, ${panel.colours.paper})`;
}

/** What each panel draws. */
const DRAW = {
  states(panel, { network, path, hand }) {
    const { n, N_X, N_Y, hyper, labels } = network.problem, steps = path.residual.length;
    const low = network.problem.model.activation === "tanh" ? -1 : 0;
    panel.axes(steps - 1, low, 1, { xlabel: "step", ticks: low ? [-1, 0, 1] : [0, 0.5, 1] });
    panel.ctx.strokeStyle = panel.colours.text;
    panel.segment(panel.x(hyper.T1), 8, panel.x(hyper.T1), panel.height - 30);
    for (let j = 0; j < n; j++) {
      const output = j - n + N_Y, colour = output < 0 ? "text" : output ? "blue" : "vermilion";
      const style = { width: output < 0 ? 0.7 : 2.5, dash: hand.clamped[j] ? [4, 3] : [] };
      panel.line([0, steps - 1], (t) => path.states[t * n + j], colour, style);
      if (output >= 0) {
        const y = panel.y(path.states[(steps - 1) * n + j]);
        panel.text(labels[N_X + j], panel.width - 29, Math.min(y + 4 + 7 * output, panel.height - 32), colour);
        panel.ctx.beginPath();
        panel.ctx.arc(panel.x(steps - 1), panel.y(hand.y[output]), 3.5, 0, 7);
        panel.ctx.fill();
      }
    }
    const at = (t) => Array.from({ length: N_Y }, (_, c) => `y${c} = ${brief(path.states[(t + 1) * n - N_Y + c])}`);
    panel.describe(`at the end of the free phase ${at(hyper.T1).join(", ")}; of the nudged phase ` +
      `${at(steps - 1).join(", ")}; target ${hand.y.join(", ")}`);
  },

  energy(panel, { network, path, bound }) {
    const steps = path.V.length, { T1 } = network.problem.hyper;
    panel.axes(steps - 1, -12, 2, { xlabel: "step", log: true, ticks: [-12, -8, -4, 0] });
    for (const phase of [[0, T1], [T1 + 1, steps - 1]]) {
      panel.line(phase, (t) => path.residual[t], "text", { width: 0.8 });
      panel.line(phase, (t) => path.bound[t], "green", { dash: [6, 4] });
      panel.line(phase, (t) => path.V[t], "blue", { width: 2.5 });
    }
    const q = path.factors[0];
    bound.textContent = q < 1 ? `bound ${q.toFixed(4)}ᵗ V₁(0)` : `no bound: ‖I + dt J‖₁ = ${q.toFixed(4)}`;
    const rests = path.rest.map((rest) => (rest ? "comes to rest" : "does not come to rest"));
    panel.describe(`the free phase ${rests[0]}, the nudged phase ${rests[1]}; a step multiplies the ` +
      `distance of two states by at most ${q.toFixed(4)}`);
  },

  network(panel, { network, path, hand }) {
    const { N, N_X, N_Y, n, X, labels, mask, hyper } = network.problem, { W } = network, { ctx } = panel;
    const n_hidden = n - N_Y, middle = panel.height / 2;
    const spread = (k, count, x) => [x, middle + (count > 1 ? ((2 * k) / (count - 1) - 1) * (middle - 24) : 0)];
    panel.places = labels.map((_, k) => {
      if (k < N_X) return spread(k, N_X, 24);
      if (k >= N - N_Y) return spread(k - N + N_Y, N_Y, panel.width - 24);
      const angle = (2 * Math.PI * (k - N_X)) / n_hidden - Math.PI / 2;
      return [panel.width / 2 + (panel.width / 2 - 85) * Math.cos(angle), middle + (middle - 22) * Math.sin(angle)];
    });
    const largest = W.reduce((a, w) => Math.max(a, Math.abs(w)), 1e-12);
    for (let i = 0; i < N; i++)
      for (let j = N_X; j < N; j++) {
        const strength = Math.abs(W[i * N + j]) / largest;
        if (!mask[i * N + j] || strength < 0.02) continue;
        const [x0, y0] = panel.places[i], [x1, y1] = panel.places[j], bend = 0.12;
        Object.assign(ctx, { globalAlpha: strength, lineWidth: 0.5 + 2 * strength });
        ctx.strokeStyle = panel.colours[W[i * N + j] < 0 ? "blue" : "vermilion"];
        ctx.setLineDash(W[i * N + j] < 0 ? [5, 3] : []);
        ctx.beginPath();
        ctx.moveTo(x0, y0);
        ctx.quadraticCurveTo((x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0), x1, y1);
        ctx.stroke();
      }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    const input = [...hand.x, ...X[0].slice(hand.x.length)];
    const state = (k) => (k < N_X ? input[k] : path.states[hyper.T1 * n + k - N_X]);
    panel.places.forEach(([x, y], k) => {
      const held = k < N_X || hand.clamped[k - N_X], s = Math.min(Math.max(state(k), 0), 1);
      ctx.beginPath();
      if (held) ctx.rect(x - 11, y - 11, 22, 22);
      else ctx.arc(x, y, 12, 0, 7);
      ctx.fillStyle = `color-mix(in srgb, ${panel.colours.text} ${Math.round(70 * s)}%, ${panel.colours.paper})`;
      Object.assign(ctx, { strokeStyle: panel.colours[held && k >= N_X ? "green" : "text"], lineWidth: held && k >= N_X ? 3 : 1 });
      ctx.fill();
      ctx.stroke();
      panel.text(labels[k] === "bias" ? "1" : labels[k], x, y + 4, s > 0.6 ? "paper" : "text", "center");
    });
    const held = labels.filter((_, k) => k >= N_X && hand.clamped[k - N_X]);
    panel.describe(`${W.filter((w) => w).length} synapses; clamped besides the inputs: ${held.join(", ") || "none"}`);
  },

  map(panel, { network, hand, map, busy }) {
    const { inputs, ranges, X, Y } = network.problem, { ctx, colours } = panel;
    panel.canvas.setAttribute("aria-busy", busy);
    if (!hasMap(network.problem)) {
      panel.text("needs one or two inputs and one label", 20, 30);
      panel.describe("this task has more than two inputs, or more than one label");
      return;
    }
    const size = Math.min(panel.height - 34, panel.width - 60), count = inputs === 2 ? Math.sqrt(map.length) : map.length;
    const left = (panel.width - size) / 2, top = 6, cell = size / count, rows = inputs === 2 ? count : 1;
    Object.assign(panel, { size, left, top });
    map.forEach((value, k) => {
      const i = k % count, j = Math.floor(k / count);
      ctx.fillStyle = signed(panel, 1.6 * (value - 0.5));
      const high = size / rows;
      ctx.fillRect(left + i * cell, top + size - (j + 1) * high, cell + 0.5, high + 0.5);
    });
    const at = (x) => {
      const [a, b = 0.5] = ranges.map(([low, high], i) => (x[i] - low) / (high - low));
      return [left + a * size, top + size * (1 - b)];
    };
    ctx.strokeStyle = colours.text;
    X.forEach((x, m) => {
      const [a, b] = at(x), one = Math.abs(score(network.problem, Y[m]) - 1) < 0.5;
      ctx.beginPath();
      ctx.arc(a, b, 6, 0, 7);
      ctx.fillStyle = one ? colours.text : colours.paper;
      ctx.fill();
      ctx.stroke();
    });
    const [a, b] = at(hand.x);
    for (const [colour, width] of [[colours.paper, 5], [colours.text, 2]]) {
      Object.assign(ctx, { strokeStyle: colour, lineWidth: width });
      panel.segment(a - 9, b, a + 9, b);
      panel.segment(a, b - 9, a, b + 9);
    }
    const [ends, upwards] = ranges.map((range) => range.map(brief));
    panel.text(`x0: ${ends[0]}`, left, top + size + 20);
    panel.text(ends[1], left + size, top + size + 20, "text", "right");
    if (inputs === 2) {
      panel.text(`x1: ${upwards[0]}`, left - 6, top + size, "text", "right");
      panel.text(upwards[1], left - 6, top + 9, "text", "right");
    }
    const share = Math.round((100 * map.filter((value) => value >= 0.5).length) / map.length);
    const answer = map.length ? `the answer is 1 on ${share} % of the inputs` : "not settled yet";
    panel.describe(`${answer}; the cross is at ${hand.x.join(", ")}`);
  },

  weights(panel, { network }) {
    const { N, N_X, labels, mask } = network.problem, { W } = network, { ctx } = panel;
    const largest = W.reduce((a, w) => Math.max(a, Math.abs(w)), 1e-12);
    const cell = Math.min((panel.height - 24) / N, (panel.width - 60) / (N - N_X));
    const left = (panel.width - cell * (N - N_X)) / 2, top = 20;
    const named = cell > 9 ? labels : labels.map((name) => (/0$|bias/.test(name) ? name : ""));
    for (let i = 0; i < N; i++) {
      for (let j = N_X; j < N; j++) {
        ctx.fillStyle = mask[i * N + j] ? signed(panel, W[i * N + j] / largest) : panel.colours.absent;
        ctx.fillRect(left + (j - N_X) * cell, top + i * cell, cell - 0.5, cell - 0.5);
      }
      panel.text(named[i], left - 4, top + (i + 0.5) * cell + 4, "text", "right");
      if (i >= N_X && (cell > 16 || named[i].endsWith("0"))) panel.text(named[i], left + (i - N_X + 0.5) * cell, 14, "text", "center");
    }
    panel.text(`max |W| = ${brief(largest)}`, panel.width - 2, panel.height - 4, "text", "right");
    panel.describe(`the largest is ${brief(largest)} in size`);
  },

  error(panel, { network }) {
    const { mse, errors } = network, lowest = mse.reduce((a, e) => Math.min(a, e), 0.001);
    const low = Math.max(-8, Math.floor(Math.log10(lowest))), ticks = [];
    for (let k = 0; k >= low; k -= low < -4 ? 2 : 1) ticks.push(k);
    panel.axes(Math.max(10, mse.length), low, 0, { xlabel: "epoch", log: true, ticks });
    panel.ctx.strokeStyle = panel.colours.green;
    panel.ctx.setLineDash([6, 4]);
    panel.segment(panel.x(0), panel.y(0.01), panel.width - 34, panel.y(0.01));
    panel.ctx.setLineDash([]);
    panel.text("learned", panel.width - 36, panel.y(0.01) + 13, "green", "right");
    panel.line([0, mse.length - 1], (k) => mse[k], "blue", { width: 2 });
    panel.describe(mse.length ? `${brief(mse.at(-1))} after ${mse.length} epochs, ${errors.at(-1)} samples wrong` : "not trained yet");
  },
};

/** anywidget's entry. */
export default {
  render({ model, el }) {
    const { adopt, end } = mount(el, model.get("catalogue"), model.get("setting"), (setting) => {
      model.set("setting", setting);
      model.save_changes();
    });
    const adopted = () => adopt(model.get("setting"));
    model.on("change:setting", adopted);
    // Jupyter listens at the document, and would take the arrow keys from the sliders.
    const keep = (event) => el.contains(event.target) && event.stopPropagation();
    addEventListener("keydown", keep, true);
    return () => {
      removeEventListener("keydown", keep, true);
      model.off("change:setting", adopted);
      end();
    };
  },
};
