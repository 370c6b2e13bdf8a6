-- Every request carries another of the tokens in the file named after --,
-- beginning at the fraction that is named after that.
local requests, n = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", "/", { Cookie = line })
  end
  -- Each run begins elsewhere, or a short one would see the first tokens only.
  n = math.floor(tonumber(args[2]) * #requests)
end

function request()
  n = n % #requests + 1
  return requests[n]
end

function done(summary)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
