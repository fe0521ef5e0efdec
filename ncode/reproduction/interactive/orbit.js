/* Kind "orbit": the latent path x(t) of AutoN-CODE, decoded in the page; and a plane between three images' codes. */
(function (live) {
  live.decoder = function (data) {
    const layers = data.layers.map(({ weight, bias, rows }) => ({
      weight: live.numbers(weight), bias: live.numbers(bias), rows,
    }));
    return (code) => {
      let h = Float64Array.from(code);
      layers.forEach(({ weight, bias, rows }, i) => {
        const input = i === 0 ? h : h.map((v) => Math.max(v, 0));
        const out = new Float64Array(rows);
        for (let r = 0; r < rows; r++) {
          let sum = bias[r];
          for (let k = 0; k < input.length; k++) sum += weight[r * input.length + k] * input[k];
          out[r] = sum;
        }
        h = out;
      });
      return h.map((v) => 1 / (1 + Math.exp(-v)));
    };
  };
  function paint(canvas, image, size) {
    canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(size, size);
    image.forEach((v, i) => {
      const grey = 255 * Math.max(0, Math.min(1, v));
      picture.data.set([grey, grey, grey, 255], 4 * i);
    });
    context.putImageData(picture, 0, 0);
  }
  live.kinds.orbit = function (stage, data) {
    const decode = live.decoder(data.decoder);
    const size = data.size;
    const orbits = data.orbits.map((orbit) => orbit.map(live.numbers));
    const view = live.html(stage, "div", { class: "ncode-live-grid" });
    const picture = (title) => {
      const box = live.html(view, "div");
      const canvas = live.html(box, "canvas", { role: "img", "aria-label": title, class: "large" });
      live.html(box, "p", {}, title);
      return canvas;
    };
    const along = picture("decoded along x(t)"), truth = picture("the image itself"), between = picture("drag: between three codes");
    const side = live.html(stage, "div", { class: "ncode-live-side" });
    let which = 0, mix = [0.5, 0.5];
    live.choice(side, {
      label: "image", options: data.orbits.map((_, i) => [String(i), String(i + 1)]), value: "0",
      change: (k) => { which = +k; draw(); },
    });
    const last = data.times.length - 1;
    const slider = live.slider(side, {
      label: "t", min: 0, max: last, step: 1, value: last, show: (v) => data.times[Math.round(v)].toFixed(2), change: () => draw(),
    });
    live.play(side, slider, last, 3, () => draw());
    const said = live.html(side, "p", { class: "ncode-live-said", "aria-live": "polite" });
    between.setAttribute("tabindex", "0");
    between.setAttribute("role", "application");
    function draw() {
      const code = orbits[which][Math.round(slider.value)];
      paint(along, decode(code), size);
      paint(truth, live.numbers(data.images[which]), size);
      const ends = [0, 1, 2].map((k) => orbits[(which + k) % orbits.length][last]);
      const [u, v] = mix;
      paint(between, decode(ends[0].map((c, i) => c + u * (ends[1][i] - c) + v * (ends[2][i] - c))), size);
      said.textContent = `t = ${data.times[Math.round(slider.value)].toFixed(2)}; the square stands at ${u.toFixed(2)} to the right, ${v.toFixed(2)} down.`;
    }
    const move = (u, v) => { mix = [u, v].map((c) => Math.max(0, Math.min(1, c))); draw(); };
    const point = (event) => {
      const box = between.getBoundingClientRect();
      move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    let held = false;
    between.addEventListener("pointerdown", (event) => { held = true; between.setPointerCapture(event.pointerId); point(event); });
    between.addEventListener("pointermove", (event) => held && point(event));
    for (const end of ["pointerup", "pointercancel"]) between.addEventListener(end, () => { held = false; });
    between.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
      if (!step) return;
      event.preventDefault();
      move(mix[0] + step[0], mix[1] + step[1]);
    });
    draw();
  };
})(window.NcodeLive);
