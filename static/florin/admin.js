/* Select2 draws its own boxes and gives them no name; screen readers need one. */
"use strict";
window.addEventListener("load", () => {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const label = document.querySelector(`label[for="${select.id}"]`);
    const drawn = select.nextElementSibling?.querySelectorAll(".select2-selection, .select2-selection__rendered");
    for (const part of drawn ?? []) {
      part.removeAttribute("aria-labelledby");
      part.setAttribute("aria-label", label?.textContent.replace(/:\s*$/, "").trim() || select.name);
    }
  }
});
