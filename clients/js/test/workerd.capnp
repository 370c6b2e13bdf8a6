using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [
    (name = "test/worker.js", esModule = embed "worker.js"),
    (name = "test/cases.js", esModule = embed "cases.js"),
    (name = "test/end_to_end.js", esModule = embed "end_to_end.js"),
    (name = "hallpass.js", esModule = embed "../hallpass.js"),
    (name = "test/tokens.json", text = embed "../../../tests/vectors/tokens.json"),
    (name = "test/feeds.json", text = embed "../../../tests/vectors/feeds.json"),
  ],
  compatibilityDate = "2026-01-01",
);
