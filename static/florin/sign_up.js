// Choose the browser's own time zone, which is a better guess than that from its language.
const zones = document.querySelector("select[data-from-browser]");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zones && zone) {
  // A browser may have an older name for the zone; the server knows it.
  if (![...zones.options].some((option) => option.value === zone)) zones.add(new Option(zone.replaceAll("_", " "), zone));
  zones.value = zone;
}

// The currency follows the country until one is chosen by hand.
const country = document.querySelector("select[name=country]");
const currency = document.querySelector("select[data-by-country]");
if (country && currency) {
  const usual = JSON.parse(currency.dataset.byCountry);
  const follow = () => { currency.value = usual[country.value] ?? currency.dataset.otherwise; };
  country.addEventListener("change", follow);
  currency.addEventListener("change", () => country.removeEventListener("change", follow), { once: true });
}
