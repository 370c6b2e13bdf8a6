// Updates the operators' page. Without it the page stays as it was loaded.
"use strict";
const connection = document.getElementById("connection");
const anomalies = document.getElementById("anomalies");
const LATEST = 20;

function say(state, words) {
  if (connection.textContent !== words) {
    connection.textContent = words;
    connection.dataset.state = state;
  }
}

// The HTML comes from the server, which escapes it like the page itself.
function replace(id, html) {
  const holder = document.getElementById(id);
  // Leave an element alone while focus is inside it.
  if (holder && !(holder.contains(document.activeElement) && holder !== document.activeElement)) {
    holder.innerHTML = html;
  }
}

const events = new EventSource("/ops/events");
events.addEventListener("open", () => say("live", "Live"));
events.addEventListener("error", () => say("lost", "Not connected: what is shown is growing old. Trying again"));
events.addEventListener("status", (event) => {
  for (const [id, html] of Object.entries(JSON.parse(event.data))) {
    replace(id, html);
  }
});
events.addEventListener("anomaly", (event) => {
  const holder = document.createElement("template");
  holder.innerHTML = JSON.parse(event.data);
  const line = holder.content.firstElementChild;
  if (line && !document.getElementById(line.id)) {
    line.classList.add("new");
    anomalies.prepend(line);
    while (anomalies.children.length > LATEST) {
      anomalies.lastElementChild.remove();
    }
  }
});
events.addEventListener("over", () => {
  events.close();
  location.assign("/ops/login");
});
