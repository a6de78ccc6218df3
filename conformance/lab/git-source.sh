# Makes a git repository in /tmp/source: 40 files, 60 commits, a branch and a tag; the same each time.
set -e
export HOME=/tmp GIT_AUTHOR_NAME=lab GIT_AUTHOR_EMAIL=lab@localhost GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@localhost
git config --global user.name lab
git config --global user.email lab@localhost
git config --global --replace-all safe.directory '*'
rm -rf /tmp/source
git init -q -b main /tmp/source
cd /tmp/source
for i in $(seq 40); do seq $((i * 50)) >"file-$i"; done
git add .
git commit -qm first
for i in $(seq 20); do
  echo "line $i" >>"file-$i"
  git commit -qam "change $i"
done
git branch side
git tag -a -m tag v1
