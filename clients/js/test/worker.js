// In workerd: GET /cases answers the results, POST /end-to-end what that says.
import feeds from "./feeds.json";
import tokens from "./tokens.json";
import { run } from "./cases.js";
import { endToEnd } from "./end_to_end.js";

export default {
  async fetch(request) {
    if (new URL(request.url).pathname === "/cases") return Response.json(await run(tokens, feeds));
    return Response.json(await endToEnd(...(await request.json())));
  },
};
