// The overview rests while its tab is hidden, and catches up when it is shown again. What is unfolded stays unfolded. When
// the server cannot be reached, the page says that it is not up to date.
const isLive = (event) => event.detail.target?.id === "live";
let unfolded = [];

document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && isLive(event)) event.preventDefault();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && document.getElementById("live")) htmx.trigger("#live", "looked-at");
});

document.addEventListener("htmx:beforeSwap", (event) => {
  if (isLive(event)) unfolded = [...event.detail.target.querySelectorAll("details[id][open]")].map((fold) => fold.id);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
});

document.addEventListener("htmx:afterRequest", (event) => {
  const toggle = document.getElementById("live-toggle");
  if (!toggle || !isLive(event)) return;
  const word = toggle.firstElementChild;
  toggle.dataset.live ??= word.textContent;
  word.textContent = event.detail.successful ? toggle.dataset.live : toggle.dataset.lost;
  toggle.classList.toggle("off", !event.detail.successful);
});
