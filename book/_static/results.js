/* The table of results shows the claims of the chosen verdict and paper. */
"use strict";
for (const results of document.querySelectorAll(".ncode-results")) {
  const filters = [...results.querySelectorAll("select[data-filter]")];
  const apply = () => {
    for (const row of results.querySelectorAll("tbody tr"))
      row.hidden = filters.some((one) => one.value && row.dataset[one.dataset.filter] !== one.value);
  };
  for (const one of filters) one.addEventListener("change", apply);
}
