/* Kind "plane": the field that one sample of the plane is given, and its path through it. */
(function (live) {
  live.kinds.plane = function (stage, data) {
    const STEPS = data.steps;
    const plane = live.html(stage, "div", { class: "ncode-live-panel" });
    let panel, crowd, field, rest, path, marks;
    const side = live.html(stage, "div", { class: "ncode-live-side" });
    let key = data.first, x0 = [...data.start], now, everyone;

    const name = (model) => model.label;
    live.choice(side, {
      label: "model", options: Object.entries(data.models).map(([k, m]) => [k, name(m)]), value: key,
      change: (k) => { key = k; gather(); draw(); },
    });
    const time = live.slider(side, {
      label: "t", min: 0, max: 1, step: 1 / STEPS, value: 0, show: (v) => `${(v * horizon()).toFixed(2)} of ${horizon()}`,
      change: () => draw(),
    });
    live.play(side, time, 1, 2.5, () => draw());
    const said = live.html(side, "p", { class: "ncode-live-said", "aria-live": "polite" });
    live.html(side, "p", { class: "ncode-live-help" },
      "Click or drag in the plane, or focus it and use the arrow keys: the arrows show the field that this one sample is given.");

    function horizon() { return data.models[key].system.horizon; }
    /* Every model's plane is as large as its paths are long. */
    function gather() {
      const { system: model, box } = data.models[key];
      const focused = plane.contains(document.activeElement);
      plane.replaceChildren();
      panel = live.panel(plane, {
        x: [-box, box], y: [-box, box], xlabel: "x₁", ylabel: "x₂", size: [380, 380], focus: true,
        label: "The plane. Arrow keys or the pointer choose the sample x(0).",
      });
      [crowd, field, rest, path, marks] = ["crowd", "field", "rest", "path", "marks"].map(panel.layer);
      listen();
      if (focused) panel.root.focus();
      everyone = data.crowd.map(({ x, label }) => ({ label, states: live.path(model, x, STEPS).states }));
    }
    function draw() {
      const { system: model, readout, colour } = data.models[key];
      now = live.path(model, x0, STEPS);
      const n = Math.round(time.value * STEPS);
      const z = now.states[n];
      const state = now.system.state(z);
      live.arrows(panel, field, (p) => now.system.field([...p, ...state.slice(2)], z), 17);
      crowd.replaceChildren();
      for (const { label, states } of everyone) {
        const [a, b] = states[n];
        live.svg(crowd, "circle", { cx: panel.X(a), cy: panel.Y(b), r: 2.6, fill: data.classes[label], class: "one" });
      }
      rest.replaceChildren();
      path.replaceChildren();
      live.svg(rest, "path", { d: panel.line(now.states.slice(n)), stroke: colour });
      live.svg(path, "path", { d: panel.line(now.states.slice(0, n + 1)), stroke: colour });
      marks.replaceChildren();
      live.svg(marks, "circle", { cx: panel.X(x0[0]), cy: panel.Y(x0[1]), r: 6, stroke: colour, class: "start" });
      live.svg(marks, "circle", { cx: panel.X(z[0]), cy: panel.Y(z[1]), r: 5, fill: colour });
      const end = now.system.state(now.states[STEPS]);
      let logit = readout.bias;
      end.forEach((v, i) => { logit += readout.weight[i] * v; });
      // Adding zero makes -0 a 0.
      const show = (v) => v.map((c) => (Math.round(100 * c) / 100 + 0).toFixed(2)).join(", ");
      said.textContent = `x(0) = (${show(x0)}), x(t) = (${show(state)}); ` +
        `at T the readout says ${logit > 0 ? "disk" : "annulus"}, P(disk) = ${(1 / (1 + Math.exp(-logit))).toFixed(3)}.`;
    }
    function move(to) {
      const { box } = data.models[key];
      x0 = to.map((v) => Math.max(-box, Math.min(box, v)));
      draw();
    }
    function listen() {
      let held = false;
      panel.root.addEventListener("pointerdown", (event) => {
        held = true;
        panel.root.setPointerCapture(event.pointerId);
        move(panel.at(event));
      });
      panel.root.addEventListener("pointermove", (event) => held && move(panel.at(event)));
      for (const end of ["pointerup", "pointercancel"]) panel.root.addEventListener(end, () => { held = false; });
      panel.root.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowDown: [0, -0.05], ArrowUp: [0, 0.05] }[event.key];
        if (!step) return;
        event.preventDefault();
        move([x0[0] + step[0], x0[1] + step[1]]);
      });
    }
    gather();
    draw();
  };
})(window.NcodeLive);
