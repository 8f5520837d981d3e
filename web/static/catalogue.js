// Search as you type, and live averages of the films in view. Without this script the form works.
import { follow, show, whole } from "./live.js";

const WAIT_MS = 250;
const form = document.querySelector("[data-filters]");
let results = document.querySelector("[data-results]");
let waiting = 0;
let stop = () => {};
let asked = new AbortController();

function followShown() {
  stop();
  const films = new Map([...results.querySelectorAll("[data-movie]")].map((one) => [one.dataset.movie, one]));
  if (!films.size) { stop = () => {}; return; }
  stop = follow(`/live?movies=${[...films.keys()].join(",")}`, (update) => {
    const film = films.get(update.movie_id);
    show(film?.querySelector("[data-average]"), update.average);
    show(film?.querySelector("[data-count]"), whole(update.count));
    show(film?.querySelector("[data-noun]"), update.count === 1 ? "rating" : "ratings");
  });
}

async function search() {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const address = `/?${query}`;
  asked.abort();
  asked = new AbortController();
  let text;
  try {
    const answer = await fetch(address, { signal: asked.signal });
    if (!answer.ok) return; // The form itself shows what is wrong.
    text = await answer.text();
  } catch {
    return; // A newer search took over, or the server is away: the form still works.
  }
  const found = new DOMParser().parseFromString(text, "text/html").querySelector("[data-results]");
  if (!found) return;
  results.replaceWith(found);
  results = found;
  history.replaceState(null, "", address);
  followShown();
}

const later = () => { clearTimeout(waiting); waiting = setTimeout(search, WAIT_MS); };
form.addEventListener("input", later);
form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(waiting); search(); });
followShown();
// What was typed before this script was there is searched too.
if (form.elements.q.value !== form.elements.q.defaultValue) later();
