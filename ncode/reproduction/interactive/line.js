/* Kind "line": paths on the line over time, for several samples at once; one of them is chosen, with its own field. */
(function (live) {
  live.kinds.line = function (stage, data) {
    const STEPS = data.steps;
    let key = data.first;
    const horizon = () => data.models[key].system.horizon;
    const panel = live.panel(stage, {
      x: [0, data.models[key].system.horizon], y: [-data.box, data.box], xlabel: "t", ylabel: "x(t)", size: [400, 340],
      label: "Paths x(t) of several samples over time.",
    });
    const [field, others, chosen, marks] = ["field", "others", "path", "marks"].map(panel.layer);
    const side = live.html(stage, "div", { class: "ncode-live-side" });
    live.choice(side, {
      label: "model", options: Object.entries(data.models).map(([k, m]) => [k, m.label]), value: key,
      change: (k) => { key = k; draw(); },
    });
    const start = live.slider(side, {
      label: "x(0)", min: -1, max: 1, step: 0.02, value: data.start, show: (v) => v.toFixed(2), change: () => draw(),
    });
    const said = live.html(side, "p", { class: "ncode-live-said", "aria-live": "polite" });
    function draw() {
      const { system: model, colour } = data.models[key];
      const times = Array.from({ length: STEPS + 1 }, (_, n) => (n / STEPS) * horizon());
      others.replaceChildren();
      for (const x of data.samples) {
        const { states } = live.path(model, [x], STEPS);
        live.svg(others, "path", { d: panel.line(times.map((t, n) => [t, states[n][0]])) });
      }
      const x0 = start.value;
      const now = live.path(model, [x0], STEPS);
      const at = (t) => now.states[Math.max(0, Math.min(STEPS, Math.round((t / horizon()) * STEPS)))];
      live.arrows(panel, field, ([t, x]) => {
        const z = at(t);
        return [1, now.system.field([x, ...now.system.state(z).slice(1)], z)[0]];
      }, 15);
      chosen.replaceChildren();
      live.svg(chosen, "path", { d: panel.line(times.map((t, n) => [t, now.states[n][0]])), stroke: colour });
      marks.replaceChildren();
      live.svg(marks, "circle", { cx: panel.X(horizon()), cy: panel.Y(-x0), r: 6, stroke: "currentColor", class: "start" });
      live.svg(marks, "circle", { cx: panel.X(horizon()), cy: panel.Y(now.states[STEPS][0]), r: 5, fill: colour });
      said.textContent = `x(0) = ${x0.toFixed(2)}, x(T) = ${now.states[STEPS][0].toFixed(3)}; wanted: ${(-x0).toFixed(2)} (circle).`;
    }
    draw();
  };

  /* Kind "oscillator": Van der Pol's x'' = mu (1 - x^2) x' - x beside the oscillation that is to be found. */
  live.kinds.oscillator = function (stage, data) {
    const flow = (mu) => (t, [x, v]) => [v, mu * (1 - x * x) * v - x];
    const path = (mu) => live.solve(flow(mu), data.start, data.horizon, data.steps);
    const wanted = path(data.mu);
    const times = wanted.map((_, n) => (n / data.steps) * data.horizon);
    const left = live.panel(stage, {
      x: [0, data.horizon], y: [-3, 3], xlabel: "t", ylabel: "x(t)", size: [380, 300], label: "x over time.",
    });
    const right = live.panel(stage, {
      x: [-3, 3], y: [-8, 8], xlabel: "x", ylabel: "θ = x′", size: [300, 300], label: "The plane of x and the control θ.",
    });
    const layers = [left, right].map((panel) => ["others", "path"].map(panel.layer));
    live.svg(layers[0][0], "path", { d: left.line(times.map((t, n) => [t, wanted[n][0]])) });
    live.svg(layers[1][0], "path", { d: right.line(wanted) });
    const side = live.html(stage, "div", { class: "ncode-live-side" });
    const mu = live.slider(side, {
      label: "μ", min: 0, max: 5, step: 0.05, value: data.first, show: (v) => v.toFixed(2), change: () => draw(),
    });
    const said = live.html(side, "p", { class: "ncode-live-said", "aria-live": "polite" });
    function draw() {
      const states = path(mu.value);
      layers[0][1].replaceChildren();
      layers[1][1].replaceChildren();
      live.svg(layers[0][1], "path", { d: left.line(times.map((t, n) => [t, states[n][0]])), stroke: data.colour });
      live.svg(layers[1][1], "path", { d: right.line(states), stroke: data.colour });
      const loss = states.reduce((sum, z, n) => sum + (z[0] - wanted[n][0]) ** 2, 0) / states.length;
      said.textContent = `μ = ${mu.value.toFixed(2)}: mean squared distance to the grey curve (μ = ${data.mu}) ${loss.toPrecision(2)}.`;
    }
    draw();
  };
})(window.NcodeLive);
