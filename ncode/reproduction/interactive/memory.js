/* Kind "memory": an episode of Eq. 7, x' = tanh(theta x), theta' = mu * x x^T, played through time. */
(function (live) {
  /* All states of the episode: for each presentation, x at `steps` + 1 times; theta is integrated beside it. */
  live.episode = function (data, stimuli) {
    const n = data.bits;
    const mu = live.numbers(data.mu);
    let theta = data.theta0 ? Float64Array.from(live.numbers(data.theta0)) : new Float64Array(n * n);
    const frames = [];
    const velocity = (x, th) => {
      const dx = new Float64Array(n);
      for (let i = 0; i < n; i++) {
        let sum = 0;
        for (let j = 0; j < n; j++) sum += th[i * n + j] * x[j];
        dx[i] = Math.tanh(sum) - data.leak * x[i];
      }
      const dth = new Float64Array(n * n);
      for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) dth[i * n + j] = mu[i * n + j] * x[i] * x[j];
      return [dx, dth];
    };
    const plus = (a, c, k) => a.map((v, i) => v + c * k[i]);
    const h = data.duration / data.steps;
    stimuli.forEach((stimulus, presentation) => {
      let x = Float64Array.from(stimulus);
      frames.push({ presentation, t: presentation * data.duration, x, theta });
      for (let s = 0; s < data.steps; s++) {
        const k1 = velocity(x, theta);
        const k2 = velocity(plus(x, h / 2, k1[0]), plus(theta, h / 2, k1[1]));
        const k3 = velocity(plus(x, h / 2, k2[0]), plus(theta, h / 2, k2[1]));
        const k4 = velocity(plus(x, h, k3[0]), plus(theta, h, k3[1]));
        x = x.map((v, i) => v + (h / 6) * (k1[0][i] + 2 * k2[0][i] + 2 * k3[0][i] + k4[0][i]));
        theta = theta.map((v, i) => v + (h / 6) * (k1[1][i] + 2 * k2[1][i] + 2 * k3[1][i] + k4[1][i]));
        frames.push({ presentation, t: presentation * data.duration + (s + 1) * h, x, theta });
      }
    });
    return frames;
  };

  function paint(canvas, values, columns, limit) {
    const rows = values.length / columns;
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let i = 0; i < values.length; i++) {
      const v = Math.max(-1, Math.min(1, values[i] / limit));
      const [r, g, b] = v < 0 ? [255 + v * 255, 255 + v * 141, 255 + v * 77] : [255 - v * 42, 255 - v * 161, 255 - v * 255];
      image.data.set([r, g, b, 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
  }

  live.kinds.memory = function (stage, data) {
    const frames = live.episode(data, data.stimuli);
    const columns = Math.ceil(Math.sqrt(data.bits));
    const last = frames[frames.length - 1];
    const largest = last.theta.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-9);
    const view = live.html(stage, "div", { class: "ncode-live-grid" });
    const picture = (title) => {
      const box = live.html(view, "div");
      const canvas = live.html(box, "canvas", { role: "img", "aria-label": title });
      const caption = live.html(box, "p", {}, title);
      return { canvas, caption };
    };
    const shown = picture("stimulus"), state = picture("x(t)"), synapses = picture("θ(t)"), wanted = picture("asked for");
    synapses.canvas.classList.add("large");
    const side = live.html(stage, "div", { class: "ncode-live-side" });
    const slider = live.slider(side, {
      label: "t", min: 0, max: frames.length - 1, step: 1, value: 0, show: (v) => `${frames[Math.round(v)].t.toFixed(2)} s`,
      change: () => draw(),
    });
    live.play(side, slider, frames.length - 1, 6, () => draw());
    const said = live.html(side, "p", { class: "ncode-live-said", "aria-live": "polite" });
    paint(wanted.canvas, data.target, columns, 1);
    function draw() {
      const frame = frames[Math.round(slider.value)];
      const query = frame.presentation === data.stimuli.length - 1;
      paint(shown.canvas, data.stimuli[frame.presentation], columns, 1);
      paint(state.canvas, frame.x, columns, 1);
      paint(synapses.canvas, frame.theta, data.bits, largest);
      shown.caption.textContent = query ? "query: some bits are zero" : `presentation ${frame.presentation + 1}`;
      const wrong = frame.x.reduce((count, v, i) => count + (1 - Math.sign(v) * data.target[i]) / 2, 0);
      said.textContent = query
        ? `The query runs: ${wrong.toFixed(0)} of ${data.bits} bits have the wrong sign or none.`
        : `Presentation ${frame.presentation + 1} of ${data.stimuli.length - 1}: the synapses θ move.`;
    }
    slider.value = 0;
    draw();
  };
})(window.NcodeLive);
