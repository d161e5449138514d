// Choose the browser's own time zone, which is a better guess than that from its language.
const zones = document.querySelector("select[data-from-browser]");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zones && zone) {
  // A browser may have an older name for the zone; the server knows it.
  if (![...zones.options].some((option) => option.value === zone)) zones.add(new Option(zone.replaceAll("_", " "), zone));
  zones.value = zone;
}
