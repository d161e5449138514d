/* Select2 draws its own boxes and gives them no name; screen readers need one. It draws when it pleases, also in rows
   that are added later, so watch for them. */
"use strict";
new MutationObserver(() => {
  for (const part of document.querySelectorAll(
    ".select2-selection:not([aria-label]), .select2-selection__rendered:not([aria-label]), " +
      ".select2-search__field:not([aria-label])",
  )) {
    const select = part.closest(".select2-container").previousElementSibling;
    const label = select && document.querySelector(`label[for="${select.id}"]`);
    part.removeAttribute("aria-labelledby");
    part.setAttribute("aria-label", label ? label.textContent.replace(/:\s*$/, "").trim() : "Choose");
  }
}).observe(document.documentElement, { childList: true, subtree: true });

/* A table of another row's page that is wider than the page scrolls, also by keyboard. */
for (const moment of ["load", "resize"]) {
  addEventListener(moment, () => {
    for (const table of document.querySelectorAll(".inline-group")) {
      if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
    }
  });
}
