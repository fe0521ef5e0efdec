/* Live figures: trained weights run in the page. No server, no request, no library.
   A figure is <figure class="ncode-live" data-kind="..."> with its data as JSON inside; each kind registers a function
   of (stage, data) in NcodeLive.kinds that draws into the stage. */
"use strict";
window.NcodeLive = window.NcodeLive || { kinds: {} };
(function (live) {
  const activations = {
    tanh: Math.tanh,
    relu: (v) => Math.max(v, 0),
    softplus: (v) => (v > 20 ? v : Math.log1p(Math.exp(v))),
    identity: (v) => v,
  };

  /* y = W_L s(... s(W_1 x + b_1) ...) + b_L; each layer is {weight: rows, bias}. */
  live.mlp = function (x, layers, activation) {
    const s = activations[activation];
    let h = x;
    layers.forEach(({ weight, bias }, i) => {
      const input = i === 0 ? h : Array.from(h, s);
      h = weight.map((row, j) => {
        let sum = bias[j];
        for (let k = 0; k < row.length; k++) sum += row[k] * input[k];
        return sum;
      });
    });
    return h;
  };

  /* The states of z' = f(t, z) at steps + 1 equal times from 0 to T: the classical Runge-Kutta method. */
  live.solve = function (f, z0, T, steps) {
    const h = T / steps;
    const states = [z0];
    const at = (z, c, k) => z.map((v, i) => v + c * k[i]);
    for (let n = 0; n < steps; n++) {
      const t = n * h;
      const z = states[n];
      const k1 = f(t, z);
      const k2 = f(t + h / 2, at(z, h / 2, k1));
      const k3 = f(t + h / 2, at(z, h / 2, k2));
      const k4 = f(t + h, at(z, h, k3));
      states.push(z.map((v, i) => v + (h / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i])));
    }
    return states;
  };

  /* The field's layers with the steered parameters' values out of the control theta. */
  function steeredLayers(model, theta) {
    if (!model.steered.length) return model.field.layers;
    const layers = model.field.layers.map((layer) => ({ ...layer }));
    let at = 0;
    for (const { layer, part, shape } of model.steered) {
      const size = shape.reduce((a, b) => a * b, 1);
      const values = theta.slice(at, at + size);
      at += size;
      layers[layer][part] =
        shape.length === 1
          ? values
          : Array.from({ length: shape[0] }, (_, r) => values.slice(r * shape[1], (r + 1) * shape[1]));
    }
    return layers;
  }

  /* A model's initial value problem for one sample: its start, its right-hand side, and the parts of a state. */
  live.system = function (model, x0) {
    const theta0 = model.gamma ? live.mlp(x0, model.gamma.layers, model.gamma.activation) : model.theta0 || [];
    const width = model.dim + model.added;
    const x = [...x0, ...new Array(model.added).fill(0)];
    const velocity = (point, layers) =>
      live.mlp(model.dataControl ? [...point, ...x0] : point, layers, model.field.activation);
    const fixed = model.g ? null : steeredLayers(model, theta0);
    return {
      z0: model.g ? [...x, ...theta0] : x,
      state: (z) => z.slice(0, width),
      control: (z) => (model.g ? z.slice(width) : theta0),
      /* f at a point of the plane, under the control that this sample has in state z. */
      field: (point, z) => velocity(point, fixed || steeredLayers(model, z.slice(width))),
      f: (t, z) => {
        if (!model.g) return velocity(z, fixed);
        const theta = z.slice(width);
        const dx = velocity(z.slice(0, width), steeredLayers(model, theta));
        return [...dx, ...live.mlp(z, model.g.layers, model.g.activation)];
      },
    };
  };

  /* The path of one sample: its states at steps + 1 times. */
  live.path = function (model, x0, steps) {
    const system = live.system(model, x0);
    return { system, states: live.solve(system.f, system.z0, model.horizon, steps) };
  };

  /* Numbers that travel as base64: "f4", float32, or "f2", float16, both little-endian. */
  live.numbers = function ({ type, data }) {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    if (type === "f4") return new Float32Array(bytes.buffer);
    const halves = new Uint16Array(bytes.buffer);
    return Float32Array.from(halves, (h) => {
      const sign = h & 0x8000 ? -1 : 1;
      const exponent = (h >> 10) & 31;
      const fraction = h & 1023;
      if (exponent === 0) return sign * fraction * 2 ** -24;
      if (exponent === 31) return fraction ? NaN : sign * Infinity;
      return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
    });
  };

  /* ---- drawing ---- */
  const SVG = "http://www.w3.org/2000/svg";
  live.svg = function (parent, tag, attributes = {}, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.appendChild(element);
    return element;
  };
  live.html = function (parent, tag, attributes = {}, text) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.appendChild(element);
    return element;
  };

  /* A panel with axes from x[0] to x[1] and y[0] to y[1]; its layers are cleared and drawn again by their owner. */
  live.panel = function (stage, { x, y, xlabel, ylabel, label, size = [360, 320], focus = false }) {
    const [width, height] = size;
    const margin = { left: 44, right: 8, top: 8, bottom: 38 };
    const root = live.svg(stage, "svg", {
      viewBox: `0 0 ${width} ${height}`, role: focus ? "application" : "img", "aria-label": label, class: "ncode-live-panel",
      ...(focus ? { tabindex: "0" } : {}),
    });
    const X = (v) => margin.left + ((v - x[0]) / (x[1] - x[0])) * (width - margin.left - margin.right);
    const Y = (v) => height - margin.bottom - ((v - y[0]) / (y[1] - y[0])) * (height - margin.top - margin.bottom);
    const frame = live.svg(root, "g", { class: "frame" });
    const ticks = ([a, b]) => {
      const raw = (b - a) / 4;
      const unit = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw);
      const found = [];
      for (let v = Math.ceil(a / step - 1e-9) * step; v <= b + 1e-9 * step; v += step) found.push(+v.toPrecision(6));
      return found;
    };
    live.svg(frame, "rect", {
      x: X(x[0]), y: Y(y[1]), width: X(x[1]) - X(x[0]), height: Y(y[0]) - Y(y[1]), class: "ground",
    });
    for (const v of ticks(x)) live.svg(frame, "text", { x: X(v), y: height - margin.bottom + 14, "text-anchor": "middle" }, v);
    for (const v of ticks(y)) live.svg(frame, "text", { x: margin.left - 5, y: Y(v) + 4, "text-anchor": "end" }, v);
    live.svg(frame, "text", { x: (X(x[0]) + X(x[1])) / 2, y: height - 6, "text-anchor": "middle" }, xlabel);
    live.svg(frame, "text", {
      x: 12, y: (Y(y[0]) + Y(y[1])) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(Y(y[0]) + Y(y[1])) / 2})`,
    }, ylabel);
    const clip = `ncode-clip-${Math.random().toString(36).slice(2)}`;
    live.svg(live.svg(root, "clipPath", { id: clip }), "rect", {
      x: X(x[0]), y: Y(y[1]), width: X(x[1]) - X(x[0]), height: Y(y[0]) - Y(y[1]),
    });
    const inside = live.svg(root, "g", { "clip-path": `url(#${clip})` });
    return {
      root, X, Y, x, y,
      layer: (name) => live.svg(inside, "g", { class: name }),
      line: (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${X(a).toFixed(2)} ${Y(b).toFixed(2)}`).join(""),
      /* The data coordinates of a pointer event. */
      at: (event) => {
        const box = root.getBoundingClientRect();
        const px = ((event.clientX - box.left) / box.width) * width;
        const py = ((event.clientY - box.top) / box.height) * height;
        return [
          x[0] + ((px - margin.left) / (width - margin.left - margin.right)) * (x[1] - x[0]),
          y[0] + ((height - margin.bottom - py) / (height - margin.top - margin.bottom)) * (y[1] - y[0]),
        ];
      },
    };
  };

  /* Arrows of a planar field on an n x n grid, each at most a cell long. */
  live.arrows = function (panel, layer, velocity, n) {
    layer.replaceChildren();
    const dx = (panel.x[1] - panel.x[0]) / n;
    const dy = (panel.y[1] - panel.y[0]) / n;
    const found = [];
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        const p = [panel.x[0] + (i + 0.5) * dx, panel.y[0] + (j + 0.5) * dy];
        const [u, v] = velocity(p);
        const a = u / dx, b = v / dy;
        found.push([p, a, b, Math.hypot(a, b)]);
      }
    const largest = Math.max(...found.map((one) => one[3]), 1e-9);
    for (const [p, a, b, length] of found) {
      if (length < 1e-9) continue;
      const scale = (0.85 * Math.sqrt(length / largest)) / length;
      const [x0, y0] = [panel.X(p[0]), panel.Y(p[1])];
      const ux = panel.X(p[0] + a * scale * dx) - x0, uy = panel.Y(p[1] + b * scale * dy) - y0;
      const tip = [x0 + ux, y0 + uy];
      const head = 0.35;
      live.svg(layer, "path", {
        d: `M${x0} ${y0}L${tip[0]} ${tip[1]}M${tip[0] - head * (ux + 0.6 * uy)} ${tip[1] - head * (uy - 0.6 * ux)}` +
          `L${tip[0]} ${tip[1]}L${tip[0] - head * (ux - 0.6 * uy)} ${tip[1] - head * (uy + 0.6 * ux)}`,
      });
    }
  };

  let counter = 0;
  live.slider = function (parent, { label, min, max, step, value, show = (v) => v, change }) {
    const id = `ncode-live-${counter++}`;
    const row = live.html(parent, "div", { class: "ncode-live-row" });
    live.html(row, "label", { for: id }, label);
    const input = live.html(row, "input", { type: "range", id, min, max, step, value });
    const shown = live.html(row, "output", { for: id }, show(+value));
    input.addEventListener("input", () => {
      shown.textContent = show(+input.value);
      change(+input.value);
    });
    return {
      get value() { return +input.value; },
      set value(v) { input.value = v; shown.textContent = show(+input.value); },
    };
  };
  live.choice = function (parent, { label, options, value, change }) {
    const name = `ncode-live-${counter++}`;
    const row = live.html(parent, "fieldset", { class: "ncode-live-row" });
    live.html(row, "legend", {}, label);
    for (const [key, text] of options) {
      const one = live.html(row, "label");
      const input = live.html(one, "input", { type: "radio", name, value: key, ...(key === value ? { checked: "" } : {}) });
      one.append(" " + text);
      input.addEventListener("change", () => change(key));
    }
  };
  /* A button that plays a slider from where it is to its end. */
  live.play = function (parent, slider, max, seconds, change) {
    const button = live.html(parent, "button", { type: "button", class: "ncode-live-play" }, "▶ play");
    let frame = null;
    const stop = () => { cancelAnimationFrame(frame); frame = null; button.textContent = "▶ play"; };
    button.addEventListener("click", () => {
      if (frame !== null) return stop();
      const from = slider.value >= max - 1e-9 ? 0 : slider.value;
      const start = performance.now();
      button.textContent = "❚❚ pause";
      const tick = (now) => {
        const value = Math.min(max, from + ((now - start) / 1000 / seconds) * max);
        slider.value = value;
        change(value);
        if (value < max) frame = requestAnimationFrame(tick);
        else stop();
      };
      frame = requestAnimationFrame(tick);
    });
  };

  live.start = function (root = document) {
    for (const figure of root.querySelectorAll("figure.ncode-live:not([data-started])")) {
      figure.dataset.started = "yes";
      const stage = figure.querySelector(".ncode-live-stage");
      const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
      live.kinds[figure.dataset.kind](stage, data);
      figure.classList.add("ncode-live-on");
    }
  };
})(window.NcodeLive);
