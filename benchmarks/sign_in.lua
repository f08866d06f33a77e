-- Signs people in, each on a path of four requests: the form, the address, the code, the page.
-- An answer says in X-Sign-In whose it is, and in X-Code which code was sent. PEOPLE is how many addresses there are.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long tv_sec; long tv_usec; } timeval;
  int gettimeofday(timeval *tv, void *tz);
]]
local moment = ffi.new("timeval")

local function now()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.tv_sec) + tonumber(moment.tv_usec) / 1e6
end

local MAX_PEOPLE = tonumber(os.getenv("BENCHMARK_PEOPLE"))
local FORM = { ["Content-Type"] = "application/x-www-form-urlencoded" }
local people, ready, count = {}, {}, 0
taken, failed = "", 0

local function ask(person, method, path, body)
  local headers = { ["X-Sign-In"] = person.number, ["X-Forwarded-For"] = person.client, ["Cookie"] = person.cookie }
  for name, value in pairs(wrk.headers) do headers[name] = value end
  if body then
    for name, value in pairs(FORM) do headers[name] = value end
    headers["Origin"] = "http://" .. wrk.host .. ":" .. wrk.port
    body = body .. "&csrf_token=" .. person.token
  end
  person.request = wrk.format(method, path, headers, body)
  table.insert(ready, person)
end

local function arrive()
  count = count + 1
  local place = count % MAX_PEOPLE
  local person = { number = tostring(count), step = 1, begun = now() }
  person.email = "person-" .. place .. "@example.com"
  person.client = "203.0." .. math.floor(place / 250) .. "." .. (place % 250 + 1)
  people[person.number] = person
  ask(person, "GET", "/auth/sign-in")
end

function request()
  if #ready == 0 then arrive() end
  return table.remove(ready, 1).request
end

local steps = {
  function(person, status, headers, body)
    person.token = body:match('name="csrf_token"[^>]*value="([^"]+)"')
    ask(person, "POST", "/auth/sign-in", "email=" .. person.email)
    return status == 200
  end,
  function(person, status, headers)
    ask(person, "POST", "/auth/verify", "code=" .. (headers["X-Code"] or ""))
    return status == 303
  end,
  function(person, status)
    ask(person, "GET", "/page")
    return status == 303
  end,
  function(person, status, headers, body)
    taken = taken .. string.format("%.6f ", now() - person.begun)
    people[person.number] = nil
    return body == "Hello " .. person.email
  end,
}

function response(status, headers, body)
  local person = people[headers["X-Sign-In"]]
  if not person then
    failed = failed + 1
    return
  end
  local cookie = headers["Set-Cookie"]
  person.cookie = cookie and cookie:match("^[^;]+") or person.cookie
  local step = steps[person.step]
  person.step = person.step + 1
  if not step(person, status, headers, body) then failed = failed + 1 end
end

local threads = {}

function setup(thread) table.insert(threads, thread) end

function done()
  print("taken: " .. threads[1]:get("taken"))
  print("failed: " .. threads[1]:get("failed"))
end
